/**
 * Event channels as the kernel uses them: the upcall only says "look again", so it wakes whoever sleeps.
 *
 * Invariant: pending bits are taken with a locked exchange before anything is looked at, so an event that comes later
 * raises the upcall again.
 * Lock: none.
 * Source: Linux drivers/xen/events/events_2l.c; xen/include/public/xen.h.
 */
import { addVa, directVa } from './layout.js';
import type { Pfn, Va } from '../../src/abi/frames.js';
import { SHARED_INFO_PENDING, VCPU_INFO_PENDING_SEL, VCPU_INFO_WORDS } from '../../src/abi/event-channel.js';
import { hi64, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';
import { kernel } from './records.js';
import { wakeAll } from './task.js';

const shared = (c: KernelCpu, word: number): Va => addVa(directVa(peek(kernel.nrPopulated(c.k)) as Pfn), 4 * word);

/** The upcall: takes the selected pending words, and wakes. */
export function* handleEvents(c: KernelCpu): Steps<void> {
  const sel = shared(c, c.id * VCPU_INFO_WORDS + VCPU_INFO_PENDING_SEL);
  const lo = yield* c.g.xchg(sel, 0, 0);
  const hi = hi64();
  for (let n = 0; n < 64; n++) {
    if (((n < 32 ? lo : hi) & (1 << (n & 31))) !== 0) yield* c.g.xchg(shared(c, SHARED_INFO_PENDING + 2 * n), 0, 0);
  }
  yield* wakeAll(c);
}
