/**
 * XENMEM_exchange: gives frames back and gets as many others for them.
 *
 * Invariant: a frame that is mapped anywhere is not taken; tot_pages does not move; `nr_exchanged` counts what is done.
 * Lock: none of its own.
 * Source: memory_exchange, xen/common/memory.c.
 * Differs: order 0 on both sides; larger ones fail as in a heap that has none.
 */
import { EFAULT, EINVAL, ENOMEM, EPERM, ESRCH } from '../abi/errno.js';
import { canonicalVa, type Mfn, type Va } from '../abi/frames.js';
import { HYPERVISOR_memory_op } from '../abi/hypercall.js';
import * as mem from '../abi/memory.js';
import { vcpu } from '../machine/cpu-record.js';
import type { Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { ld, lock, peek, poke, st, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { assignPage, stealPage } from './allocation.js';
import { toMfn } from './base.js';
import { addrOk, copyFromVa, copyToVa, guestPointer } from './copy.js';
import { domain, mayTarget, putDomain, type DomainRef } from './domain.js';
import { allocFrame, freeFrame } from './heap.js';
import { setM2p } from './m2p.js';
import { domainByAnyId, maxOrder } from './memory-op.js';
import { createContinuation, hypercallPreemptCheck } from './preempt.js';

const extent = (cpu: Cpu): number => vcpu.copied(cpu) + 24;
const IN = mem.EXCHANGE_IN;
const OUT = mem.EXCHANGE_OUT;

/** One exchanged pair came to this: the domain died under it, so nobody has the new frame. */
const DYING = 1;

/** rsi: struct xen_memory_exchange. */
export function* doExchange(cpu: Cpu): Steps<number> {
  const a = vcpu.copied(cpu);
  const arg = guestPointer(cpu, 1);
  if (!(yield* copyFromVa(cpu, arg, a, mem.EXCHANGE_WORDS))) return -EFAULT;
  let rc = refusal(cpu, a);
  if (rc === 0 && done(a) === size(a, IN)) return 0;
  if (rc === 0 && !(addrOk(listOf(a, IN)) && addrOk(listOf(a, OUT)))) rc = -EFAULT;
  if (rc === 0) {
    const d = yield* domainByAnyId(cpu, peek(a + IN + mem.RESERVATION_DOMID) & 0xffff);
    rc = d === 0 ? -ESRCH : mayTarget(cpu, d) ? yield* pairs(cpu, d) : -EPERM;
  }
  const written = yield* copyToVa(cpu, (arg + mem.EXCHANGE_DONE * 4) as Va, a + mem.EXCHANGE_DONE, 2);
  return written ? rc : -EFAULT;
}

const done = (a: number): number => peek(a + mem.EXCHANGE_DONE) >>> 0;
const size = (a: number, part: number): number => peek(a + part + mem.RESERVATION_NR) >>> 0;
const order = (a: number, part: number): number => peek(a + part + mem.RESERVATION_ORDER) >>> 0;
const high = (a: number, i: number): number => peek(a + i + 1);
const listOf = (a: number, part: number): Va =>
  canonicalVa(peek(a + part + mem.RESERVATION_EXTENTS), peek(a + part + mem.RESERVATION_EXTENTS + 1));

/** What is wrong with the sizes in `a`; 0: nothing. */
function refusal(cpu: Cpu, a: number): number {
  if (Math.max(order(a, IN), order(a, OUT)) > maxOrder(cpu)) return -EPERM;
  if ((high(a, IN + mem.RESERVATION_NR) | high(a, OUT + mem.RESERVATION_NR)) !== 0) return -EINVAL;
  if (high(a, mem.EXCHANGE_DONE) !== 0 || done(a) > size(a, IN)) return -EINVAL;
  if (((peek(a + IN + mem.RESERVATION_DOMID) ^ peek(a + OUT + mem.RESERVATION_DOMID)) & 0xffff) !== 0) return -EINVAL;
  if (size(a, IN) * 2 ** order(a, IN) !== size(a, OUT) * 2 ** order(a, OUT)) return -EINVAL;
  return 0;
}

function* pairs(cpu: Cpu, d: DomainRef): Steps<number> {
  const a = vcpu.copied(cpu);
  const first = done(a);
  if (order(a, IN) !== 0 || order(a, OUT) !== 0) return -ENOMEM;
  const n = size(a, IN);
  for (let i = first; i < n; i++) {
    if (i !== first && (yield* hypercallPreemptCheck(cpu))) return createContinuation(cpu, HYPERVISOR_memory_op);
    const rc = yield* onePair(cpu, d, (listOf(a, IN) + i * 8) as Va, (listOf(a, OUT) + i * 8) as Va);
    if (rc === DYING) return 0;
    if (rc !== 0) return rc;
    poke(a + mem.EXCHANGE_DONE, i + 1);
  }
  return 0;
}

function* onePair(cpu: Cpu, d: DomainRef, from: Va, to: Va): Steps<number> {
  if (!(yield* copyFromVa(cpu, from, extent(cpu), 2))) return -EFAULT;
  const old = toMfn(peek(extent(cpu)), peek(extent(cpu) + 1));
  if (old < 0 || (yield* stealPage(cpu, d, old, false)) !== 0) return -EINVAL;
  const fresh = yield* allocFrame(cpu);
  if (fresh < 0) {
    yield* giveBack(cpu, d, old);
    return -ENOMEM;
  }
  yield* freeFrame(cpu, old);
  if ((yield* assignPage(cpu, d, fresh, false)) !== 0) {
    yield* uncount(cpu, d);
    yield* freeFrame(cpu, fresh);
    return DYING;
  }
  if (!(yield* copyFromVa(cpu, to, extent(cpu), 2))) return -EFAULT;
  yield* setM2p(fresh, peek(extent(cpu)), peek(extent(cpu) + 1));
  poke(extent(cpu), fresh);
  poke(extent(cpu) + 1, 0);
  return (yield* copyToVa(cpu, to, extent(cpu), 2)) ? 0 : -EFAULT;
}

/** The stolen frame goes back to the domain, or, when that is dying, to the heap. */
function* giveBack(cpu: Cpu, d: DomainRef, mfn: Mfn): Steps<void> {
  if ((yield* assignPage(cpu, d, mfn, false)) === 0) return;
  yield* uncount(cpu, d);
  yield* freeFrame(cpu, mfn);
}

/** A frame that tot_pages still counted is nobody's now. */
function* uncount(cpu: Cpu, d: DomainRef): Steps<void> {
  yield* lock(cpu, domain.pageAllocLock(d), RANK.pageAlloc);
  const left = (yield* ld(domain.totPages(d))) - 1;
  yield* st(domain.totPages(d), left);
  yield* unlock(cpu, domain.pageAllocLock(d));
  if (left === 0) yield* putDomain(d);
}
