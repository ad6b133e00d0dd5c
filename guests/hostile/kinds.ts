/**
 * Kinds of steps: their numbers (part of what a recorded program says), names, how often each is taken, who prepares it.
 */
import type { Va } from '../../src/abi/frames.js';
import { HOSTILE_GROUPS, type HostileGroup } from '../../src/abi/hostile.js';
import * as grants from './grant-calls.js';
import * as mmu from './mmu-calls.js';
import * as other from './other-calls.js';
import type { Hostile } from './record.js';

export const KIND = Object.freeze({
  mmuUpdate: 0,
  updateVa: 1,
  updateVaForeign: 2,
  pin: 3,
  unpin: 4,
  newBase: 5,
  mmuext: 6,
  map: 7,
  unmap: 8,
  replace: 9,
  copy: 10,
  transfer: 11,
  grantQuery: 12,
  decrease: 13,
  increase: 14,
  exchange: 15,
  events: 16,
  domctl: 17,
  vcpuCall: 18,
  raw: 19,
  multicall: 20,
  load: 21,
  store: 22,
  tableStore: 23,
  grantEntry: 24,
  scribble: 25,
  userMode: 26,
  mask: 27,
  offerRing: 28,
  serveRing: 29,
  storm: 30,
} as const);

/** Every kind's name, by its number; and those that a guest without neighbours takes. */
export const ALL_KIND_NAMES: readonly string[] = Object.freeze(Object.keys(KIND));
export const KIND_NAMES: readonly string[] = Object.freeze(ALL_KIND_NAMES.slice(0, KIND.offerRing));

/** How often each kind is taken. */
const OFTEN: Readonly<Record<keyof typeof KIND, number>> = Object.freeze({
  mmuUpdate: 40,
  updateVa: 14,
  updateVaForeign: 2,
  pin: 18,
  unpin: 14,
  newBase: 6,
  mmuext: 10,
  map: 24,
  unmap: 20,
  replace: 6,
  copy: 10,
  transfer: 4,
  grantQuery: 4,
  decrease: 4,
  increase: 6,
  exchange: 4,
  events: 10,
  domctl: 4,
  vcpuCall: 2,
  raw: 8,
  multicall: 14,
  load: 6,
  store: 8,
  tableStore: 10,
  grantEntry: 24,
  scribble: 6,
  userMode: 2,
  mask: 2,
  // only beside normal guests
  offerRing: 0,
  serveRing: 0,
  storm: 0,
});

/** What a scenario weighs: kinds by group. */
const GROUPS: Readonly<Record<HostileGroup, readonly (keyof typeof KIND)[]>> = Object.freeze({
  tables: ['mmuUpdate', 'updateVa', 'updateVaForeign', 'pin', 'unpin', 'newBase', 'mmuext', 'tableStore'],
  grants: ['map', 'unmap', 'replace', 'copy', 'transfer', 'grantQuery', 'grantEntry'],
  memory: ['decrease', 'increase', 'exchange'],
  events: ['events', 'storm'],
  rings: ['offerRing', 'serveRing'],
  accesses: ['load', 'store', 'scribble', 'userMode', 'mask'],
  other: ['domctl', 'vcpuCall', 'raw', 'multicall'],
});
/** How often beside normal guests what the fuzzer never takes. */
const BESIDE: Readonly<Partial<Record<keyof typeof KIND, number>>> = Object.freeze({
  offerRing: 12,
  serveRing: 16,
  storm: 6,
});

/** Weight of each kind, by number, from the groups' weights. */
export function weightsOf(mix: Readonly<Record<HostileGroup, number>>): number[] {
  const out = Array.from(ALL_KIND_NAMES, () => 0);
  for (const group of HOSTILE_GROUPS) {
    for (const name of GROUPS[group]) out[KIND[name]] = mix[group] * (BESIDE[name] ?? OFTEN[name]);
  }
  return out;
}

/** Each kind's number as often as it is to be taken. */
export const WEIGHTS: readonly number[] = Object.freeze(
  Object.entries(OFTEN).flatMap(([name, n]) => Array.from({ length: n }, () => KIND[name as keyof typeof KIND])),
);

/** The kinds that take and drop references, for races between few frames: nothing that ends a guest. */
export const CHURN: readonly number[] = Object.freeze([
  ...WEIGHTS.filter((k) => k === KIND.mmuUpdate || k === KIND.map || k === KIND.unmap || k === KIND.replace),
  ...WEIGHTS.filter((k) => k === KIND.pin || k === KIND.unpin || k === KIND.updateVa || k === KIND.tableStore),
  ...WEIGHTS.filter((k) => k === KIND.mmuext || k === KIND.increase || k === KIND.decrease),
  ...WEIGHTS.filter((k) => k === KIND.grantEntry || k === KIND.copy || k === KIND.transfer || k === KIND.exchange),
]);

/** Steps that are accesses and no hypercalls. */
export const accessKind = (kind: number): boolean => kind >= KIND.load;

/** Prepares a hypercall of `kind` whose structures will lie at `at`. */
export function prepare(h: Hostile, kind: number, at: Va): void {
  const make = MAKERS[kind];
  if (make !== undefined) make(h, at);
}

const MAKERS: readonly ((h: Hostile, at: Va) => void)[] = Object.freeze([
  mmu.mmuUpdate,
  mmu.updateVa,
  mmu.updateVaForeign,
  mmu.pin,
  mmu.unpin,
  mmu.newBase,
  mmu.ext,
  grants.map,
  grants.unmap,
  grants.unmapAndReplace,
  grants.copy,
  grants.transfer,
  grants.query,
  other.decrease,
  other.increase,
  other.exchange,
  other.events,
  other.domctl,
  other.vcpuCall,
  other.raw,
]);
