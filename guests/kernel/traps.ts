/**
 * What the kernel installs in its trap table: page faults, #GP, upcalls, inter-processor interrupts.
 *
 * Invariant: a fault of user code ends in a retry or a signal, never in an endless loop; a fault of kernel code on a
 * user address is like the user's own (copy_to_user), on any other address an oops: counted, the access has no effect.
 * Lock: handlers run on top of whatever was interrupted, events masked.
 * Source: Linux arch/x86/mm/fault.c; DESIGN decision 10.
 */
import type { Va } from '../../src/abi/frames.js';
import { PFEC_write_access } from '../../src/abi/trap.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu, GuestHandlers } from '../../src/vcpu/guest-cpu.js';
import type { KernelCpu } from './context.js';
import { WARN } from './counters.js';
import { warn } from './count.js';
import { serveCrossCall } from './cross-call.js';
import { handleEvents } from './events.js';
import { handleMmFault } from './fault.js';
import { isUserVa } from './layout.js';
import type { Mm } from './mm.js';
import { percpu } from './records.js';
import { killTask, task, type Task } from './task.js';
import { FAULT_OK } from './vm-ops.js';

/** The handlers of one vCPU, and the way to tell them on whose behalf they run (known only once the vCPU exists). */
export interface Traps {
  readonly handlers: GuestHandlers;
  attach(c: KernelCpu): void;
}

export function makeTraps(): Traps {
  const here: { c: KernelCpu | undefined } = { c: undefined };
  return {
    handlers: {
      *pageFault(_g: GuestCpu, va: Va, error: number): Steps<boolean> {
        return here.c !== undefined && (yield* pageFault(here.c, va, error));
      },
      *generalProtection(): Steps<void> {
        if (here.c !== undefined) yield* warn(here.c, WARN.gp, 0);
      },
      *event(): Steps<void> {
        if (here.c !== undefined) yield* handleEvents(here.c);
      },
      *ipi(): Steps<void> {
        if (here.c !== undefined) yield* serveCrossCall(here.c);
      },
    },
    attach(c: KernelCpu): void {
      here.c = c;
    },
  };
}

function* pageFault(c: KernelCpu, va: Va, error: number): Steps<boolean> {
  const t = peek(percpu.current(c.pc)) as Task;
  const m = t === 0 ? (0 as Mm) : (peek(task.mm(t)) as Mm);
  if (!isUserVa(va) || m === 0) {
    yield* warn(c, WARN.oops, (va / 4096) | 0);
    return false;
  }
  const signal = yield* handleMmFault(c, m, va, (error & PFEC_write_access) !== 0);
  if (signal === FAULT_OK) return peek(task.killed(t)) === 0;
  yield* killTask(c, t, signal);
  return false;
}
