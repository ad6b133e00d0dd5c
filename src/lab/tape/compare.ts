/**
 * Compares what an operation answered with what its tape expects, field by field.
 *
 * Invariant: every field of the result and of the probes counts; what may differ is exactly what FORMAT.md names:
 * accessed and dirty bits of upper-level entries, and Xen's own entries in slots 256-271 of an L4 ("xen").
 * Source: tapes FORMAT.md (values in results, probes).
 */
import { PAGE_ACCESSED, PAGE_DIRTY, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../../abi/pte.js';
import type { DomState, Expectation, GrantState, OpOf } from './schema.js';
import type { Op } from './schema.js';
import { hex64, parseHex } from './value.js';

/** One field that is not as expected. */
export interface FieldDifference {
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** What the probes see, of everything they look at. */
export interface ProbeState {
  readonly types: ReadonlyMap<string, string | null>;
  readonly doms: ReadonlyMap<string, DomState | null>;
  readonly grants: ReadonlyMap<string, GrantState | null>;
}
export interface MutableProbeState extends ProbeState {
  readonly types: Map<string, string | null>;
  readonly doms: Map<string, DomState | null>;
  readonly grants: Map<string, GrantState | null>;
}

/** An operation's result in the words of the tapes; probes aside. */
export type Answer = Omit<Expectation, 'types' | 'doms' | 'grants'>;

const PROBES = new Set(['types', 'doms', 'grants']);
const SNAP_LIMIT = 24;

/** `upper`: the names of frames that were page tables above level 1 at some time of the tape. */
export function compareAnswer(op: Op, actual: Answer, upper: ReadonlySet<string>): FieldDifference[] {
  const expected: Record<string, unknown> = op.expect;
  const got: Record<string, unknown> = actual;
  const out: FieldDifference[] = [];
  const fields = new Set([...Object.keys(expected), ...Object.keys(got)]);
  for (const field of fields) {
    if (PROBES.has(field)) continue;
    if (field === 'v' && op.op === 'snap') out.push(...compareSnap(op, expected['v'], got['v'], upper));
    else if (field === 'v') {
      const loose = op.op === 'peek' && upper.has(op.f);
      if (!sameValue(expected['v'], got['v'], loose)) out.push({ field, expected: expected['v'], actual: got['v'] });
    } else if (!same(expected[field], got[field])) {
      out.push({ field, expected: expected[field], actual: got[field] });
    }
  }
  return out;
}

function compareSnap(
  op: OpOf<'snap'>,
  expected: unknown,
  actual: unknown,
  upper: ReadonlySet<string>,
): FieldDifference[] {
  if (typeof expected !== 'object' || typeof actual !== 'object') {
    return same(expected, actual) ? [] : [{ field: 'v', expected, actual }];
  }
  const want = (expected ?? {}) as Record<string, unknown>;
  const got = (actual ?? {}) as Record<string, unknown>;
  const wasL4 = Object.values(want).includes('xen');
  const own = (i: number): boolean => wasL4 && i >= ROOT_XEN_FIRST && i <= ROOT_XEN_LAST && isXens(want[String(i)]);
  const last = Object.keys(want).length < SNAP_LIMIT ? 511 : Math.max(...Object.keys(want).map(Number));
  const out: FieldDifference[] = [];
  for (let i = 0; i <= last; i++) {
    const key = String(i);
    if (own(i) || sameValue(want[key], got[key], upper.has(op.f))) continue;
    out.push({ field: `v[${key}]`, expected: want[key], actual: got[key] });
  }
  return out;
}

/** Not recorded by value: shown as "xen", or left out where it was zero on the recorded machine. */
const isXens = (v: unknown): boolean => v === undefined || v === 'xen';

function sameValue(expected: unknown, actual: unknown, loose: boolean): boolean {
  if (expected === 'xen') return actual !== undefined;
  return same(expected, actual) || (loose && same(withoutAd(expected), withoutAd(actual)));
}

/** A value with its accessed and dirty bits taken off. */
function withoutAd(v: unknown): unknown {
  if (typeof v === 'string' && v.startsWith('0x')) return clearAd(v);
  if (typeof v === 'object' && v !== null && 'fl' in v && typeof v.fl === 'string') return { ...v, fl: clearAd(v.fl) };
  return v;
}

function clearAd(hex: string): string {
  const { lo, hi } = parseHex(hex);
  return hex64(lo & ~(PAGE_ACCESSED | PAGE_DIRTY), hi);
}

/** Applies the probes of an expectation to the expected state. */
export function applyProbes(state: MutableProbeState, e: Pick<Expectation, 'types' | 'doms' | 'grants'>): void {
  for (const [k, v] of Object.entries(e.types ?? {})) state.types.set(k, v);
  for (const [k, v] of Object.entries(e.doms ?? {})) state.doms.set(k, v);
  for (const [k, v] of Object.entries(e.grants ?? {})) state.grants.set(k, v);
}

export function compareProbes(expected: ProbeState, actual: ProbeState): FieldDifference[] {
  const out: FieldDifference[] = [];
  compareMaps('types', expected.types, actual.types, same, out);
  compareMaps('doms', expected.doms, actual.doms, same, out);
  compareMaps('grants', expected.grants, actual.grants, sameGrant, out);
  return out;
}

function compareMaps<T>(
  what: string,
  expected: ReadonlyMap<string, T | null>,
  actual: ReadonlyMap<string, T | null>,
  equal: (a: T | null, b: T | null) => boolean,
  out: FieldDifference[],
): void {
  for (const [key, got] of actual) {
    const want = expected.get(key) ?? null;
    if (!equal(want, got)) out.push({ field: `${what}.${key}`, expected: want, actual: got });
  }
  for (const [key, want] of expected) {
    if (want !== null && !actual.has(key)) out.push({ field: `${what}.${key}`, expected: want, actual: null });
  }
}

/** A status word of 0 and the absence of one (version 1) are one and the same to the recorder. */
function sameGrant(a: GrantState | null, b: GrantState | null): boolean {
  if (a === null || b === null) return a === b;
  return a.flags === b.flags && a.dom === b.dom && a.f === b.f && (a.status ?? 0) === (b.status ?? 0) && a.hi === b.hi;
}

/** Deep equality of plain JSON values. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const ka = Object.keys(a);
  if (ka.length !== Object.keys(b).length) return false;
  return ka.every((k) => same((a as Record<string, unknown>)[k], (b as Record<string, unknown>)[k]));
}
