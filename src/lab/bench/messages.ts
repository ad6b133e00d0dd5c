/**
 * What the main thread and the threads of a teardown benchmark say to each other; and what the guests' side is to them.
 *
 * Invariant: one task per thread at a time, answered once; what goes with a task is plain data.
 */
import type { Steps } from '../../sync/steps.js';
import type { DomainWords, VcpuPlace } from '../run/messages.js';
import type { Point, Restore } from './plan.js';

/** What defines a machine of a benchmark. */
export interface Setting {
  readonly point: Point;
  readonly design: string;
  readonly restore: Restore;
  /** One more vCPU, with a process of its own. */
  readonly bystander: boolean;
}

/** A built machine, as its threads are told of it. */
export interface BenchStart {
  readonly setting: Setting;
  readonly places: readonly VcpuPlace[];
  readonly words: DomainWords;
  /** Address of the word that goes up with every order to the vCPUs. */
  readonly phase: number;
  /** The guests' own. */
  readonly guests: unknown;
}

/** Tables of the process by level, and what the design took to remember the grants, in bytes. */
export interface RoundShape {
  readonly nL1: number;
  readonly nL2: number;
  readonly nL3: number;
  readonly stateBytes: number;
}

/** One vCPU of the mapping domain as the benchmark drives it. The first one leads. */
export interface BenchVcpu {
  /** Brings the vCPU up; the first one also has the granters grant. False: out of memory. */
  boot(): Steps<boolean>;
  /** The first vCPU's: a process to end (nL1 0: out of memory), its end, the pause after it, the end of everything. */
  prepare(): Steps<RoundShape>;
  end(): Steps<void>;
  rest(): Steps<void>;
  quit(): Steps<void>;
  /** The others': serves the round that begins with order number `phase`; answers its last one, -1: there will be no other. */
  serve(phase: number): Steps<number>;
  /** The bystander's: `n` loads of its own memory; false when it is to leave. */
  bystand(n: number): Steps<boolean>;
}

/** What the benchmark asks of the guests' side. */
export interface BenchGuests {
  /** Why the design cannot run, or ''. */
  refuses(s: Setting): string;
  build(s: Setting): Steps<BenchStart>;
  vcpu(start: BenchStart, id: number): BenchVcpu;
}

export type Counted = Readonly<Record<string, number>>;

export type BenchTask =
  | { readonly kind: 'open'; readonly setting: Setting }
  | { readonly kind: 'boot' }
  | { readonly kind: 'round' }
  /** Rounds while the bystander runs; `busy` is the word in which the station says what goes on. */
  | { readonly kind: 'meet'; readonly rounds: number }
  | { readonly kind: 'close' }
  | { readonly kind: 'join'; readonly start: BenchStart; readonly id: number }
  | { readonly kind: 'bystand'; readonly start: BenchStart; readonly id: number }
  | { readonly kind: 'count'; readonly setting: Setting };

export interface Round {
  readonly kind: 'round';
  readonly ns: number;
  readonly contended: number;
  /** Mappings of grants that Xen still has after the end. */
  readonly leaked: number;
}

/** What a bystander saw, nanoseconds per access: medians and the slowest chunk, while nothing and while an end went on. */
export interface Sight {
  readonly quietNs: number;
  readonly busyNs: number;
  readonly quietChunks: number;
  readonly busyChunks: number;
  readonly quietWorstNs: number;
  readonly busyWorstNs: number;
}

export type BenchReply =
  | { readonly kind: 'opened'; readonly start: BenchStart }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'done' }
  | Round
  | { readonly kind: 'counted'; readonly counted: Counted; readonly shape: RoundShape; readonly leaked: number }
  | { readonly kind: 'saw'; readonly sight: Sight }
  | { readonly kind: 'failed'; readonly error: string };

/** What threads of one machine share beside its memory: what goes on, for the bystander; and that it is there. */
export const STATE = 0;
export const READS = 1;
export const STATE_WORDS = 2;
export const STATE_QUIET = 0;
export const STATE_ENDING = 1;
export const STATE_OTHER = 2;

export interface BenchThreadData {
  readonly memory: WebAssembly.Memory;
  readonly state: Int32Array;
}
