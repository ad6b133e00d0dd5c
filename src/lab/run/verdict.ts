/**
 * From what a run showed to its verdict, and whether that was expected. Pure.
 *
 * Invariant: a run that met nothing is *not exercised*, never *clean*; a found violation stands whatever else is missing.
 * Source: DESIGN five sentences (5), decision 7.
 */
import type { Violation } from '../../abi/guest.js';
import type { Expectation, Require } from '../../scenario/scenario.js';

export type Verdict = 'clean' | 'broken' | 'refused' | 'not exercised' | 'interrupted' | 'stalled' | 'lost' | 'error';

export type Counters = Readonly<Record<string, number>>;

export interface Overlap {
  /** Hypercalls entered while another vCPU was inside the hypervisor. */
  readonly hypercalls: number;
  /** Lock acquisitions that found the lock held. */
  readonly contendedLocks: number;
}

/** What happened, before it is judged. */
export interface Outcome {
  /** `lost`: a thread had to be ended where it was, and nothing can be said of the design. */
  readonly ending: 'finished' | 'interrupted' | 'refused' | 'stalled' | 'lost' | 'error';
  readonly violations: readonly Violation[];
  readonly counters: Counters;
  readonly overlap: Overlap;
  /** Domains that an event should have destroyed and did not reach. */
  readonly missed: readonly string[];
  /** Planned faults that were never injected. */
  readonly unmet?: readonly string[];
}

/** What a run lacked so that a clean audit says nothing; [] when it lacked nothing. */
export function lacking(o: Outcome, require: Require): string[] {
  const out = Object.entries(require)
    .filter(([name, least]) => (o.counters[name] ?? 0) < least)
    .map(([name, least]) => `${name}: ${String(o.counters[name] ?? 0)} of at least ${String(least)}`);
  if (o.counters['hostile.reached'] === 0) out.push('the hostile guest reached nobody');
  for (const name of o.missed) out.push(`'${name}' was never destroyed: its event did not come`);
  for (const f of o.unmet ?? []) out.push(`fault '${f}' was never met`);
  if (o.overlap.hypercalls === 0 && o.overlap.contendedLocks === 0) out.push('no two vCPUs ever met');
  return out;
}

export function verdictOf(o: Outcome, require: Require): Verdict {
  if (o.ending !== 'finished' && o.ending !== 'interrupted') return o.ending;
  if (o.violations.length > 0) return 'broken';
  if (o.ending === 'interrupted') return 'interrupted';
  return lacking(o, require).length > 0 ? 'not exercised' : 'clean';
}

/** Is this verdict what the scenario says of the design? Unlisted findings are unexpected, but a broken design may warn. */
export function isExpected(verdict: Verdict, violations: readonly Violation[], expect: Expectation): boolean {
  if (expect.kind !== 'breaks') return verdict === expect.kind;
  if (verdict !== 'broken') return false;
  const broken = new Set(violations.map((v) => v.invariant));
  const allowed = new Set<string>([...expect.breaks, ...expect.may, 'warning']);
  return expect.breaks.every((i) => broken.has(i)) && [...broken].every((i) => allowed.has(i));
}
