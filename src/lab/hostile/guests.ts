/**
 * What the laboratory asks of the guests' side to have a hostile domain beside normal ones: its memory, what its vCPUs are
 * told, what they do, what they counted.
 */
import type { Mfn } from '../../abi/frames.js';
import type { HostileSpec } from '../../scenario/scenario.js';
import type { Steps } from '../../sync/steps.js';
import type { GuestCpu, GuestHandlers } from '../../vcpu/guest-cpu.js';

/** A hostile domain that was created and given its frames. */
export interface BesideDomain {
  readonly domid: number;
  readonly privileged: false;
  readonly vcpus: number;
  readonly frames: readonly Mfn[];
  readonly grantFrame: number;
  readonly sharedInfo: number;
}

/** A normal domain, and some of its frames. */
export interface Neighbour {
  readonly domid: number;
  readonly frames: readonly number[];
}

/** What one vCPU is told for one life. */
export interface BesideLife {
  readonly seed: number;
  readonly options: Pick<HostileSpec, 'noise' | 'mix'>;
  readonly neighbours: readonly Neighbour[];
  /** Where frontends and backends of all domains find each other. */
  readonly rings: number;
}

/** What a vCPU counted over its lives: names of counters, each with the address of its word. */
export type TallyWords = readonly (readonly [name: string, address: number])[];

export interface BesideGuests {
  readonly recordWords: number;
  readonly tallyWords: number;
  pages(vcpus: number): number;
  base(d: BesideDomain): Mfn;
  lay(d: BesideDomain, put: (table: Mfn, index: number, lo: number, hi: number) => void): void;
  /** Wipes the record and fills it for vCPU `v` of `d`. */
  tell(record: number, tally: number, d: BesideDomain, v: number, life: BesideLife): void;
  handlers(): GuestHandlers;
  /** Some `steps` steps, until the word at `over` is not 0. */
  life(g: GuestCpu, record: number, steps: number, over: number, checked: boolean): Steps<void>;
  /** A life is over, in which `met` calls met another domain in the hypervisor: what the record counted goes to the tally. */
  settle(record: number, met: number): void;
  tallied(tally: number): TallyWords;
  /** The domain `domid` is gone: what it claimed of others is over. */
  gone(rings: number, domid: number): Steps<void>;
  /** `domid` lives in the place of an earlier one. */
  reborn(rings: number, domid: number): Steps<void>;
  /** What earlier lives of `domid` offered goes when nobody has it any more. */
  sweep(rings: number, domid: number): Steps<void>;
}
