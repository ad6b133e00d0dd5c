/**
 * What became of a run in which faults were injected: one word, and what it stands on. Pure.
 *
 * Invariant: the worst that was found decides. Held by a named holder who will release it is *degraded*; held by nobody
 * who ever will is *leaked*; a fault that no occurrence met is *not exercised*, never *clean*.
 * Source: DESIGN decision 8, sentence 5.
 */
import type { Violation } from '../../abi/guest.js';
import { OUTCOMES, type OutcomeName } from '../../scenario/schema.js';

export { OUTCOMES, type OutcomeName };

export const worse = (a: OutcomeName, b: OutcomeName): OutcomeName =>
  OUTCOMES.indexOf(a) >= OUTCOMES.indexOf(b) ? a : b;

/** Whether a design may end so without anybody having to explain it. */
export const isGood = (o: OutcomeName): boolean => OUTCOMES.indexOf(o) <= OUTCOMES.indexOf('degraded');

/** A guest domain's pages at the end. */
export interface PageStock {
  readonly domain: string;
  /** On the free lists, with a frame or without. */
  readonly free: number;
  /** Kept out of use for good or until a holder lets go, and how many of these have such a holder. */
  readonly quarantined: number;
  readonly awaited: number;
  /** Granted to somebody and not revoked. */
  readonly granted: number;
  /** Frames that the domain owns and no page of it has: Xen's own pages of it, and what was lost. */
  readonly unknown: number;
}

export interface Evidence {
  /** Whether every planned fault was injected. */
  readonly injected: boolean;
  /** How the run ended if not by itself: a bug, a deadlock, the bound. */
  readonly hung: string;
  readonly bug: string;
  readonly violations: readonly Violation[];
  /** Handles that a named holder keeps and will release. */
  readonly kept: readonly string[];
  readonly stock: readonly PageStock[];
  /** The same without faults: one, or what several schedules came to. */
  readonly normals: readonly (readonly PageStock[])[];
}

export interface Judged {
  readonly outcome: OutcomeName;
  /** What, held by whom, since when; the first of each kind. */
  readonly why: readonly string[];
}

/** Warnings that say that a kernel's own state is wrong, not that something was refused. */
const WRONG_STATE = /warned \d+ times: (oops|badPage|gp|ioData|badPte)$/;

export function judge(e: Evidence): Judged {
  if (!e.injected) return { outcome: 'not exercised', why: [] };
  let outcome: OutcomeName = 'clean';
  const why: string[] = [];
  const add = (o: OutcomeName, text: string): void => {
    outcome = worse(outcome, o);
    why.push(`${o}: ${text}`);
  };
  if (e.bug !== '') add('corrupted', e.bug);
  if (e.hung !== '') add('hung', e.hung);
  for (const v of e.violations) {
    const o = ofViolation(v);
    if (o !== undefined) add(o, [`${v.invariant} ${v.detail}`, ...v.holders, ...(v.since === undefined ? [] : [v.since])].join('; ')); // prettier-ignore
  }
  for (const who of e.kept) add('degraded', who);
  for (const [o, text] of lost(e.stock, e.normals)) add(o, text);
  return { outcome, why };
}

function ofViolation(v: Violation): OutcomeName | undefined {
  if (v.invariant === 'crash') return 'crashed';
  if (v.invariant === 'warning') return WRONG_STATE.test(v.detail) ? 'corrupted' : undefined;
  if (v.severity === 'degraded') return 'degraded';
  return v.severity === 'leaked' || v.invariant === 'I10' ? 'leaked' : 'corrupted';
}

type Losses = readonly [OutcomeName, string][];

/** The schedule without faults that this run is most like. */
const least = (all: readonly Losses[]): Losses => {
  const worst = (l: Losses): number => Math.max(-1, ...l.map(([o]) => OUTCOMES.indexOf(o)));
  return all.reduce<Losses | undefined>((a, b) => (a === undefined || worst(b) < worst(a) ? b : a), undefined) ?? [];
};

/** Pages that are not where they were without the faults, by the one of those runs that this is most like. */
export const lost = (now: readonly PageStock[], normals: readonly (readonly PageStock[])[]): Losses =>
  least(normals.map((n) => lostSince(now, n)));

function lostSince(now: readonly PageStock[], normal: readonly PageStock[]): Losses {
  const out: [OutcomeName, string][] = [];
  for (const s of now) {
    const n = normal.find((x) => x.domain === s.domain);
    if (n === undefined) continue;
    const unused = s.quarantined - s.awaited - (n.quarantined - n.awaited);
    const awaited = s.awaited - n.awaited;
    const nobody = n.free - s.free - (s.quarantined - n.quarantined) - (s.granted - n.granted);
    const unknown = s.unknown - n.unknown - (s.quarantined - n.quarantined);
    if (unknown > 0) out.push(['leaked', `${String(unknown)} frames of ${s.domain} have no page`]);
    if (awaited > 0) out.push(['degraded', `${String(awaited)} pages of ${s.domain} wait in quarantine`]);
    if (unused > 0) out.push(['leaked', `${String(unused)} pages of ${s.domain} are never used again`]);
    if (nobody > 0) out.push(['leaked', `${String(nobody)} pages of ${s.domain} belong to nobody`]);
  }
  return out;
}
