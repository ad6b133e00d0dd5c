/**
 * What the fuzzer asks of the guests' side: the laboratory builds machines and runs vCPUs, what they do is a guest's.
 */
import type { Mfn } from '../../abi/frames.js';
import type { Steps } from '../../sync/steps.js';
import type { GuestCpu, GuestHandlers } from '../../vcpu/guest-cpu.js';
import type { FuzzDomain } from './plan.js';

/** A domain that was created and given its frames. */
export interface FuzzGuest extends FuzzDomain {
  readonly frames: readonly Mfn[];
  /** Its first grant frame, and its shared-info page. */
  readonly grantFrame: number;
  readonly sharedInfo: number;
}

/** Where a vCPU's random numbers begin, how many values are noise, and whether it only churns references. */
export interface FuzzStream {
  readonly seed: number;
  readonly wild: number;
  readonly churns: boolean;
}

/** What a vCPU did, by kind of step. */
export interface FuzzCounts {
  readonly calls: number;
  readonly kinds: readonly number[];
  readonly effects: readonly number[];
}

export interface FuzzGuests {
  readonly kinds: readonly string[];
  readonly recordWords: number;
  pages(vcpus: number): number;
  /** The frame of `d` that its vCPUs start on as their base. */
  base(d: FuzzGuest): Mfn;
  lay(d: FuzzGuest, put: (table: Mfn, index: number, lo: number, hi: number) => void): void;
  /** Fills the record at `record` of vCPU `v` and starts its stream. */
  tell(record: number, d: FuzzGuest, v: number, all: readonly FuzzGuest[], stream: FuzzStream): void;
  handlers(): GuestHandlers;
  /** Everything a vCPU does. */
  life(g: GuestCpu, record: number, steps: number, checked: boolean): Steps<void>;
  counts(record: number): FuzzCounts;
}
