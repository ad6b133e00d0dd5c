/**
 * What exploration asks of the guests' side: domains with vCPUs that run named steps.
 *
 * Invariant: an object here keeps nothing between two calls but what it was made of; all state is in the shared memory,
 * so that a reset of the memory resets the guests.
 */
import type { GuestLook, GuestReport, MachineView } from '../../abi/guest.js';
import type { DomainSpec, SmallStep } from '../../scenario/scenario.js';
import type { Cpu } from '../../sync/actor.js';
import type { Steps } from '../../sync/steps.js';
import type { DomainWords, MachinePlan } from '../run/messages.js';

export interface SmallVcpu {
  readonly cpu: Cpu;
  /** Enters guest mode, and leaves it while others run alone. */
  start(): Steps<void>;
  park(): Steps<void>;
  boot(): Steps<boolean>;
  /** One step of the setup: 0, or what it was refused with. */
  step(step: SmallStep): Steps<number>;
  /** Whether a process runs here; whether the step needs one. */
  hasProcess(): boolean;
  needsProcess(step: SmallStep): boolean;
  /**
   * A body of the race: the steps, then interrupts until the vCPUs `others` of the domain are done. `note` hears of each
   * step before it begins.
   */
  race(steps: readonly SmallStep[], others: readonly number[], note: (text: string) => void): () => Steps<void>;
  /** Whether `settle` has something to do. */
  unsettled(): boolean;
  /** After the race: what the kernel does when nothing runs. */
  settle(): Steps<void>;
}

export interface SmallDomain {
  readonly words: DomainWords;
  readonly vcpus: readonly SmallVcpu[];
  /** What a thread of a vCPU is told of the domain: plain data. */
  readonly start?: unknown;
}

export interface ExploreGuests {
  /** Why the plan's design will not run, or ''. */
  refuses(plan: MachinePlan): string;
  build(plan: MachinePlan, domain: DomainSpec): Steps<SmallDomain>;
  /** Step checks of the kernels that were built, over the machine as it is now. */
  look(view: MachineView): GuestLook;
  reports(domids: readonly number[]): readonly GuestReport[];
  /** What a word of the guests' records is, or ''. */
  nameOf(address: number): string;
}
