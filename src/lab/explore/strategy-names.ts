/** What strategies there are, as the command line names them; no machine is loaded to know it. */

export const STRATEGIES = ['bounded', 'dpor', 'naive', 'random', 'uniform', 'pct', 'round-robin'] as const;
export type StrategyName = (typeof STRATEGIES)[number];

/** Those that draw: several threads can search one design with different seeds. */
export const DRAWS: readonly StrategyName[] = ['random', 'uniform', 'pct'];

export interface StrategySpec {
  readonly strategy: StrategyName;
  /** Most preemptions of a schedule; undefined: as many as there are. */
  readonly preemptions: number | undefined;
  readonly seed: number;
  /** Bug depth of pct. */
  readonly depth: number;
  /** Most faults of a schedule; undefined: all that the fault plan says happen. */
  readonly faults: number | undefined;
}

/** Preemptions of a bounded search that says no number. */
export const DEFAULT_PREEMPTIONS = 2;
