/**
 * Locks of the control plane: the control plane waits for them, a vCPU only tries.
 *
 * Invariant: nobody waits inside the hypervisor for a holder who may wait for him to leave it (a pause, a destruction).
 * Lock: takes the lock it is named.
 * Source: domctl_lock_acquire, xen/common/domctl.c.
 */
import { CONTROL, type Cpu } from '../sync/actor.js';
import { ldOnce, lock, tryLock, waitChange } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';

/** Takes the lock; false: the vCPU must leave (its call goes on in a continuation), having waited for a change. */
export function* controlLock(cpu: Cpu, a: number, rank: number): Steps<boolean> {
  if (cpu === CONTROL) {
    yield* lock(cpu, a, rank);
    return true;
  }
  if (yield* tryLock(cpu, a, rank)) return true;
  const seen = yield* ldOnce(a); // raced on purpose: waits for the holder
  if (seen !== 0) yield* waitChange(cpu, a, seen);
  return false;
}
