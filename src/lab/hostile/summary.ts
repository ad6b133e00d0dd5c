/**
 * What hostile guests did in a run, out of its counters: totals, by kind, by answer. Pure.
 *
 * Invariant: plain numbers that add up over runs.
 */
import type { Counters } from '../run/verdict.js';

export interface HostileKind {
  readonly name: string;
  readonly steps: number;
  /** Those that were not refused, and what of them took effect on a normal guest. */
  readonly effects: number;
  readonly reached: number;
}

/** Keys of `--json`. */
export interface HostileSummary {
  readonly lives: number;
  readonly steps: number;
  readonly calls: number;
  /** Calls that named a normal guest or a frame of one; effects on one. */
  readonly against: number;
  readonly reached: number;
  /** Calls entered while a vCPU of another domain was in the hypervisor; the same of normal guests' calls. */
  readonly met: number;
  readonly metByNormal: number;
  /** Accesses that were refused and given up. */
  readonly faults: number;
  /** Lives in which Xen itself forgot a table. */
  readonly forgotten: number;
  readonly kinds: readonly HostileKind[];
  /** Answers of hypercalls, and of single grant operations, by name. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly grantStatuses: Readonly<Record<string, number>>;
  /** Rounds of work that each normal domain finished. */
  readonly rounds: Readonly<Record<string, number>>;
}

const KIND = 'hostile.kind.';
const STATUS = 'hostile.status.';
const GRANT = 'hostile.grant.';
const ROUNDS = 'rounds.';

/** Undefined: the run had no hostile guest. */
export function hostileSummary(c: Counters): HostileSummary | undefined {
  if (c['hostile.calls'] === undefined) return undefined;
  const n = (name: string): number => c[name] ?? 0;
  const named = (prefix: string): Record<string, number> =>
    Object.fromEntries(
      Object.entries(c)
        .filter(([name, v]) => name.startsWith(prefix) && v > 0)
        .map(([name, v]) => [name.slice(prefix.length), v]),
    );
  return {
    lives: n('hostile.lives'),
    steps: n('hostile.steps'),
    calls: n('hostile.calls'),
    against: n('hostile.against'),
    reached: n('hostile.reached'),
    met: n('hostile.met'),
    metByNormal: n('meetings'),
    faults: n('hostile.faults'),
    forgotten: n('hostile.forgotten'),
    kinds: Object.entries(named(KIND)).map(([name, steps]) => ({
      name,
      steps,
      effects: n(`hostile.effect.${name}`),
      reached: n(`hostile.reached.${name}`),
    })),
    statuses: named(STATUS),
    grantStatuses: named(GRANT),
    rounds: named(ROUNDS),
  };
}

const merged = (a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): Record<string, number> => {
  const out: Record<string, number> = { ...a };
  for (const [name, v] of Object.entries(b)) out[name] = (out[name] ?? 0) + v;
  return out;
};

/** The sum of two. */
export function addSummaries(a: HostileSummary | undefined, b: HostileSummary): HostileSummary {
  if (a === undefined) return b;
  const kinds = new Map(a.kinds.map((k) => [k.name, k]));
  for (const k of b.kinds) {
    const was = kinds.get(k.name) ?? { name: k.name, steps: 0, effects: 0, reached: 0 };
    kinds.set(k.name, {
      name: k.name,
      steps: was.steps + k.steps,
      effects: was.effects + k.effects,
      reached: was.reached + k.reached,
    });
  }
  return {
    lives: a.lives + b.lives,
    steps: a.steps + b.steps,
    calls: a.calls + b.calls,
    against: a.against + b.against,
    reached: a.reached + b.reached,
    met: a.met + b.met,
    metByNormal: a.metByNormal + b.metByNormal,
    faults: a.faults + b.faults,
    forgotten: a.forgotten + b.forgotten,
    kinds: [...kinds.values()],
    statuses: merged(a.statuses, b.statuses),
    grantStatuses: merged(a.grantStatuses, b.grantStatuses),
    rounds: merged(a.rounds, b.rounds),
  };
}
