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
  /** It breaks the rule only where a fault is injected. */
  readonly underFaults?: boolean;
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

/** An argument of a step of a small scenario, by its place. */
export type StepArgument =
  | {
      readonly kind: 'integer';
      readonly name: string;
      readonly min: number;
      readonly max: number;
      readonly default?: number;
    }
  /** The name of another domain; the step gets its number. */
  | { readonly kind: 'domain'; readonly name: string };

/** One operation that a small scenario may have a vCPU (or the control plane) do. */
export interface StepEntry {
  readonly name: string;
  /** Who does it: a process that runs on the vCPU, the kernel there, or the control plane. */
  readonly by: 'process' | 'kernel' | 'control';
  readonly arguments: readonly StepArgument[];
  readonly about: string;
}

/** Everything a scenario may name that is not fixed by the lab itself. */
export interface Catalog {
  readonly designs: readonly DesignEntry[];
  readonly programs: readonly ProgramEntry[];
  readonly steps: readonly StepEntry[];
}
