/**
 * What a hostile vCPU did over all its lives: calls by answer, and those that concerned normal guests.
 *
 * Invariant: written by the vCPU's own thread; only grows. A vCPU without a tally counts nothing here.
 * Lock: none; read by the lab at any time.
 */
import { record, type Ref } from '../../src/shm/record.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { bump, hostile, KINDS, type Hostile } from './record.js';

/** Answers that are told apart: 0 and above, -errno down to -127; GNTST_okay down to -15. */
export const STATUSES = 128;
export const GRANT_STATUSES = 16;

export const tally = record('hostileTally', {
  lives: 1,
  steps: 1,
  calls: 1,
  faults: 1,
  /** Calls that named a normal domain or a frame of one; what took effect there (a grant mapped, a ring taken …), and by kind. */
  against: 1,
  reached: 1,
  reachedKinds: KINDS,
  /** Calls entered while a vCPU of another domain was inside the hypervisor. */
  met: 1,
  kinds: KINDS,
  effects: KINDS,
  statuses: STATUSES,
  grantStatuses: GRANT_STATUSES,
});
export type Tally = Ref<'hostileTally'>;

const of = (h: Hostile): Tally => peek(hostile.tally(h)) as Tally;

/** The answer of a hypercall. */
export function tallyStatus(h: Hostile, rc: number): void {
  const t = of(h);
  if (t === 0) return;
  bump(tally.statuses(t) + (rc >= 0 ? 0 : Math.min(-rc, STATUSES - 1)));
}

/** The answer of one operation of a grant call. */
export function tallyGrantStatus(h: Hostile, status: number): void {
  const t = of(h);
  if (t === 0 || status > 0 || status <= -GRANT_STATUSES) return;
  bump(tally.grantStatuses(t) - status);
}

/** A call of `kind` that named a normal guest was made; whether it took effect there. */
export function tallyAgainst(h: Hostile, kind: number, reached: boolean): void {
  const t = of(h);
  if (t === 0) return;
  bump(tally.against(t));
  if (reached) tallyReached(h, kind);
}

/** Something a normal guest has, or does, is other than it would be. */
export function tallyReached(h: Hostile, kind: number): void {
  const t = of(h);
  if (t === 0) return;
  bump(tally.reached(t));
  bump(tally.reachedKinds(t) + kind);
}

/** A life is over: what its record counted is added; `met` is the vCPU's. */
export function tallyLife(h: Hostile, met: number): void {
  const t = of(h);
  if (t === 0) return;
  bump(tally.lives(t));
  const sum = (to: number, from: number): void => {
    poke(to, peek(to) + peek(from));
  };
  sum(tally.steps(t), hostile.steps(h));
  sum(tally.calls(t), hostile.calls(h));
  sum(tally.faults(t), hostile.faults(h));
  poke(tally.met(t), peek(tally.met(t)) + met);
  for (let k = 0; k < KINDS; k++) {
    sum(tally.kinds(t) + k, hostile.kinds(h) + k);
    sum(tally.effects(t) + k, hostile.effects(h) + k);
  }
}
