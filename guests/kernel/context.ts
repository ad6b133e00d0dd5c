/**
 * What every function of the guest kernel takes first: the vCPU it runs on, with the tables of functions it may call.
 *
 * Invariant: immutable; made once by each vCPU's thread at boot. All state is behind `k` and `pc`, in shared records.
 */
import type { Steps } from '../../src/sync/steps.js';
import type { Cpu } from '../../src/sync/actor.js';
import type { GuestCpu } from '../../src/vcpu/guest-cpu.js';
import type { TeardownDesign } from '../designs/design.js';
import type { FileOps } from './file.js';
import type { Kernel, Percpu } from './records.js';
import type { Task } from './task.js';
import type { VmOps } from './vm-ops.js';

export interface KernelCpu {
  readonly g: GuestCpu;
  readonly cpu: Cpu;
  readonly k: Kernel;
  readonly pc: Percpu;
  /** vCPU number within the domain. */
  readonly id: number;
  readonly design: TeardownDesign;
  /** Operations of VMAs, by `vma.ops`. */
  readonly vmOps: readonly VmOps[];
  /** Operations of files, by `file.ops`. */
  readonly fileOps: readonly FileOps[];
  /** Deferred work, by `work.worker`. */
  readonly workers: readonly Worker[];
  /** Programs, by `task.program`. */
  readonly programs: readonly Program[];
}

/** One kind of deferred work. */
export interface Worker {
  readonly name: string;
  work(c: KernelCpu, argument: number): Steps<void>;
}

/** Answers of a program's step. */
export const STEP_AGAIN = 0;
/** Nothing to do before something wakes it. */
export const STEP_SLEEP = 1;
export const STEP_EXIT = 2;
/** This thread alone exits; the others of its process go on. */
export const STEP_EXIT_THREAD = 3;

/** A user program (or kernel thread): one bounded quantum per call, all state in the task's words. */
export interface Program {
  readonly name: string;
  /** Runs without an address space of its own. */
  readonly kernelThread: boolean;
  step(c: KernelCpu, t: Task): Steps<number>;
  /** The last thread of a process is gone; `spawner` started it. */
  ended(c: KernelCpu, spawner: Task): Steps<void>;
  /** A process slot of this program begins, and ends for good. */
  begin(c: KernelCpu): Steps<void>;
  finish(c: KernelCpu): Steps<void>;
}
