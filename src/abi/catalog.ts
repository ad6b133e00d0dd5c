/**
 * What guests say about themselves as data: the designs and the workload programs that a scenario may name.
 *
 * Invariant: plain constants; files that hold them import nothing but this one, so the host reads them without a machine.
 */

/** One teardown design, or a known-wrong variant of one. */
export interface DesignEntry {
  readonly name: string;
  /** A known-wrong variant; its name ends in `-buggy`. */
  readonly buggy: boolean;
  readonly about: string;
  /** For a known-wrong variant: the rule it breaks, as the reference numbers it. */
  readonly rule?: string;
}

/** A parameter of a workload program, as a scenario may set it. */
export type Parameter =
  | {
      readonly kind: 'integer';
      readonly min: number;
      readonly max: number;
      readonly default: number;
      readonly about: string;
    }
  | {
      readonly kind: 'choice';
      readonly values: readonly [string, ...string[]];
      readonly default: string;
      readonly about: string;
    }
  | { readonly kind: 'flag'; readonly default: boolean; readonly about: string }
  /** A list of names of other domains of the scenario. */
  | { readonly kind: 'domains'; readonly about: string };

/** A workload program that a guest can run. */
export interface ProgramEntry {
  readonly name: string;
  readonly about: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
}

/** Everything a scenario may name that is not fixed by the lab itself. */
export interface Catalog {
  readonly designs: readonly DesignEntry[];
  readonly programs: readonly ProgramEntry[];
}
