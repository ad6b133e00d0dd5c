/** What vCPUs and the control plane do in the tests of pauses, deaths and interrupts; as coroutines and as threads. */
import { findDomain } from '../../src/hypervisor/domain.js';
import { destroyDomain, pauseDomain, unpauseDomain } from '../../src/hypervisor/domctl.js';
import { ERESTART } from '../../src/abi/errno.js';
import { makeVa, type Va } from '../../src/abi/frames.js';
import { CONTROL, cpuAt } from '../../src/sync/actor.js';
import { RANK } from '../../src/sync/lock-order.js';
import { add, ldOnce, lock, stOnce, unlock, waitChange, wake } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu, GuestHandlers, Vcpu } from '../../src/vcpu/guest-cpu.js';
import { VcpuStopped } from '../../src/vcpu/stopped.js';
import { makeGuestCpu } from '../../src/vcpu/vcpu.js';

/** The pages of `guest.ts`, said again because a thread loads this file alone. */
const kernelVa = (page: number): Va => makeVa(300, 0, 0, page);
const STACKS = [2, 5];

/** Words that the bodies share; the test says where. */
export const STEPS = 0;
export const STOP = 16;
export const ACK = 32;
export const LOCK = 48;
export const SHARED = 64;
export const COMMON_WORDS = 80;

function* refuse(): Steps<boolean> {
  return yield* answer(false);
}
function* answer(x: boolean): Steps<boolean> {
  return x;
}

/** Counts an interrupt in the word at `a`. */
function handlersCounting(a: number): GuestHandlers {
  const count = function* (): Steps<void> {
    yield* add(a, 1);
    wake(a);
  };
  return { pageFault: refuse, generalProtection: count, event: count, ipi: count };
}

function vcpuAt(index: number, number: number, common: number): Vcpu {
  const g = makeGuestCpu(cpuAt(index), handlersCounting(common + ACK));
  g.setKernel(kernelVa(STACKS[number] as number), kernelVa(0));
  return g;
}

/** Runs `body`; 1 when the vCPU was stopped in it, 0 when it ended. */
function* guarded(g: Vcpu, body: (g: GuestCpu) => Steps<void>): Steps<number> {
  try {
    yield* g.start();
    yield* body(g);
    yield* g.halt();
    return 0;
  } catch (e) {
    if (e instanceof VcpuStopped) return 1;
    throw e;
  }
}

/** Counts its steps by guest stores until told to stop, without ever polling: accesses alone must honour requests. */
export function* counts(index: number, number: number, common: number, times: number): Steps<number> {
  return yield* guarded(vcpuAt(index, number, common), function* (g) {
    for (let i = 0; i < times && (yield* ldOnce(common + STOP)) === 0; i++) {
      yield* g.store32(kernelVa(3), i);
      yield* add(common + STEPS, 1);
    }
  });
}

/** The same, under a guest lock that it takes for every step; `serving`: in the way that serves interrupts. */
export function* countsLocked(
  index: number,
  number: number,
  common: number,
  times: number,
  serving: number,
): Steps<number> {
  return yield* guarded(vcpuAt(index, number, common), function* (g) {
    for (let i = 0; i < times && (yield* ldOnce(common + STOP)) === 0; i++) {
      if (serving !== 0) yield* g.lock(common + LOCK, RANK.guestPteLock);
      else yield* lock(g.cpu, common + LOCK, RANK.guestPteLock);
      const n = yield* ldOnce(common + SHARED);
      yield* g.store32(kernelVa(3), n);
      yield* stOnce(common + SHARED, n + 1);
      yield* unlock(g.cpu, common + LOCK);
      yield* add(common + STEPS, 1);
      yield* g.poll();
    }
  });
}

/** Pauses the domain `times` times, each after some progress; answers how many steps were made while it was paused. */
export function* pauses(domid: number, common: number, times: number): Steps<number> {
  let moved = 0;
  const d = yield* findDomain(domid);
  let seen = 0;
  for (let i = 0; i < times; i++) {
    while ((yield* ldOnce(common + STEPS)) === seen) yield* waitChange(CONTROL, common + STEPS, seen);
    yield* pauseDomain(CONTROL, d);
    const before = yield* ldOnce(common + STEPS);
    for (let k = 0; k < 5; k++) yield* stOnce(common + SHARED, k);
    seen = yield* ldOnce(common + STEPS);
    moved += seen - before;
    yield* unpauseDomain(CONTROL, d);
  }
  yield* stOnce(common + STOP, 1);
  return moved;
}

/** Destroys the domain after it has made `after` steps; answers the steps made from then on. */
export function* destroys(domid: number, common: number, after: number): Steps<number> {
  for (let n = yield* ldOnce(common + STEPS); n < after; n = yield* ldOnce(common + STEPS)) {
    yield* waitChange(CONTROL, common + STEPS, n);
  }
  const d = yield* findDomain(domid);
  while ((yield* destroyDomain(CONTROL, d)) === -ERESTART);
  const before = yield* ldOnce(common + STEPS);
  for (let k = 0; k < 5; k++) yield* stOnce(common + SHARED, k);
  return (yield* ldOnce(common + STEPS)) - before;
}

/** Sends `times` interrupts to `target`, waiting for the answer to each; answers how many came back. */
export function* sends(index: number, number: number, common: number, target: number, times: number): Steps<number> {
  return yield* guarded(vcpuAt(index, number, common), function* (g) {
    for (let i = 0; i < times; i++) {
      yield* g.sendIpi(cpuAt(target));
      while ((yield* ldOnce(common + ACK)) === i) yield* g.relax(common + ACK, i);
    }
    yield* stOnce(common + STOP, 1);
    wake(common + STOP);
  });
}

/** Sleeps until told to stop; interrupts are answered from the sleep. */
export function* sleeps(index: number, number: number, common: number): Steps<number> {
  return yield* guarded(vcpuAt(index, number, common), function* (g) {
    while ((yield* ldOnce(common + STOP)) === 0) yield* g.relax(common + STOP, 0);
  });
}
