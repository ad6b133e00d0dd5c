/** What the main thread and a search thread say to each other: one task a thread, progress, one answer. Plain data. */
import type { Finding } from '../../explore/program.js';
import type { Expectation } from '../../scenario/scenario.js';
import type { Recording } from './record.js';
import type { ExplorePlan } from './machine.js';
import type { StrategySpec } from './strategy-names.js';

/** The beginning of every execution: the first `steps` of an encoded schedule, over the scenario with these parts left out. */
export interface PrefixSpec {
  readonly schedule: string;
  readonly steps: number;
  readonly leftOut: readonly number[];
}

export interface SearchSpec extends StrategySpec {
  readonly executions: number | undefined;
  readonly timeMs: number | undefined;
  /** When all of this was seen, or something else, the search may end. */
  readonly expect: Expectation;
  /** Where an earlier search of the same stood, or undefined. */
  readonly saved: unknown;
  readonly prefix?: PrefixSpec;
  /** Whether equivalence classes are counted. */
  readonly classes: boolean;
}

export type Job =
  | { readonly kind: 'search'; readonly plan: ExplorePlan; readonly search: SearchSpec }
  /** Replays a token's schedule, in the words of the scenario that it came from. */
  | {
      readonly kind: 'replay';
      readonly plan: ExplorePlan;
      readonly leftOut: readonly number[];
      readonly schedule: string;
    };

export interface ExploreThreadData {
  readonly memory: WebAssembly.Memory;
  readonly job: Job;
  /** Word 0 becomes 1 when the search is to end. */
  readonly stop: Int32Array;
}

export interface Counts {
  readonly executions: number;
  readonly points: number;
  readonly failures: number;
  readonly cut: number;
  /** States at rest that executions ended in. */
  readonly states: number;
  readonly classes: number | undefined;
  /** Executions still to come: an estimate. */
  readonly remaining: number | undefined;
}

/** A counterexample, shrunk. */
export interface Violation {
  readonly rule: string;
  readonly findings: readonly Finding[];
  readonly leftOut: readonly number[];
  readonly schedule: string;
  readonly trace: string;
  readonly steps: number;
  readonly preemptions: number;
  readonly vcpus: number;
  /** The faults that happen, in their order: who met which, and the answer. */
  readonly faults: readonly string[];
  /** In how many executions the rule was broken before the search ended. */
  readonly times: number;
}

export interface Searched {
  readonly kind: 'searched';
  readonly counts: Counts;
  readonly ended: string;
  readonly exhausted: boolean;
  readonly covers: string;
  readonly searchMs: number;
  readonly violations: readonly Violation[];
  /** Where the search stands, when it can be gone on with. */
  readonly saved: unknown;
}

export type FromExplore =
  | { readonly kind: 'progress'; readonly counts: Counts }
  | { readonly kind: 'shrinking'; readonly rule: string }
  | Searched
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'replayed'; readonly recording: Recording }
  | { readonly kind: 'input'; readonly code: string; readonly message: string; readonly hint: string | undefined }
  | { readonly kind: 'failed'; readonly error: string };
