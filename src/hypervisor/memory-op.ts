/**
 * HYPERVISOR_memory_op: reservations up and down, populate; exchange is in exchange.ts.
 *
 * Invariant: the answer is the number of extents done, over continuations (the command's upper bits carry it).
 * Lock: none of its own.
 * Source: do_memory_op … guest_remove_page, xen/common/memory.c; [X1].
 * Differs: extents of order 0 are given out; larger ones fail as in a heap that has none. mem_flags (nodes, address bits,
 * populate on demand) are not looked at. Commands that are not here answer -ENOSYS.
 */
import { EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } from '../abi/errno.js';
import { canonicalVa, DOMID_SELF, type Mfn, type Va } from '../abi/frames.js';
import { HYPERVISOR_memory_op } from '../abi/hypercall.js';
import * as mem from '../abi/memory.js';
import { faultHit } from '../fault/plan.js';
import { SITE } from '../fault/sites.js';
import { vcpu } from '../machine/cpu-record.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { ldOnce, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { allocDomainFrame, putPageAllocRef } from './allocation.js';
import { toMfn } from './base.js';
import { addrOk, copyFromVa, copyToVa, guestPointer } from './copy.js';
import { currentDomain, domain, domidOf, findDomain, mayTarget, type DomainRef } from './domain.js';
import { doExchange } from './exchange.js';
import { setM2p } from './m2p.js';
import { getPage, putPage } from './page.js';
import { argLo, createContinuation, hypercallPreemptCheck, setArg } from './preempt.js';

/** The command's upper bits: extents that earlier parts have done. */
const MEMOP_EXTENT_SHIFT = 6;
const MEMOP_CMD_MASK = (1 << MEMOP_EXTENT_SHIFT) - 1;
const MAX_EXTENTS = 2 ** (32 - MEMOP_EXTENT_SHIFT) - 1;
const XENMEM_maximum_ram_page = 2;
/** Largest order a domain may ask for, privileged or not. */
const CTLDOM_MAX_ORDER = 12;
const DOMU_MAX_ORDER = 9;

/** One extent's number, after the copied argument. */
const extent = (cpu: Cpu): number => vcpu.copied(cpu) + 24;
export const maxOrder = (cpu: Cpu): number =>
  peek(domain.privileged(currentDomain(cpu))) !== 0 ? CTLDOM_MAX_ORDER : DOMU_MAX_ORDER;

/** The domain by its id, the own one and SELF included; 0 if there is none. */
export function* domainByAnyId(cpu: Cpu, domid: number): Steps<DomainRef> {
  return domid === DOMID_SELF ? currentDomain(cpu) : yield* findDomain(domid);
}

/** rdi command, rsi argument. */
export function* doMemoryOp(cpu: Cpu): Steps<number> {
  const command = argLo(cpu, 0) & MEMOP_CMD_MASK;
  const start = argLo(cpu, 0) >>> MEMOP_EXTENT_SHIFT;
  switch (command) {
    case mem.XENMEM_increase_reservation:
    case mem.XENMEM_decrease_reservation:
    case mem.XENMEM_populate_physmap:
      return yield* reservation(cpu, command, start);
    case mem.XENMEM_exchange:
      return start !== 0 ? -EINVAL : yield* doExchange(cpu);
    case XENMEM_maximum_ram_page:
      return start !== 0 ? -EINVAL : FRAMES;
    case mem.XENMEM_current_reservation:
    case mem.XENMEM_maximum_reservation:
      return start !== 0 ? -EINVAL : yield* statistics(cpu, command);
    default:
      return -ENOSYS;
  }
}

function* statistics(cpu: Cpu, command: number): Steps<number> {
  if (!(yield* copyFromVa(cpu, guestPointer(cpu, 1), vcpu.copied(cpu), 1))) return -EFAULT;
  const d = yield* domainByAnyId(cpu, peek(vcpu.copied(cpu)) & 0xffff);
  if (d === 0) return -ESRCH;
  if (!mayTarget(cpu, d)) return -EPERM;
  if (command === mem.XENMEM_maximum_reservation) return peek(domain.maxPages(d));
  return yield* ldOnce(domain.totPages(d)); // raced on purpose: a statistic
}

function* reservation(cpu: Cpu, command: number, start: number): Steps<number> {
  const a = vcpu.copied(cpu);
  if (!(yield* copyFromVa(cpu, guestPointer(cpu, 1), a, mem.RESERVATION_WORDS))) return start;
  const nr = peek(a + mem.RESERVATION_NR) >>> 0;
  if (peek(a + mem.RESERVATION_NR + 1) !== 0 || nr > MAX_EXTENTS || start >= nr) return start;
  const d = yield* domainByAnyId(cpu, peek(a + mem.RESERVATION_DOMID) & 0xffff);
  if (d === 0 || !mayTarget(cpu, d)) return start;
  const list = canonicalVa(peek(a + mem.RESERVATION_EXTENTS), peek(a + mem.RESERVATION_EXTENTS + 1));
  if (!addrOk(list) || peek(a + mem.RESERVATION_ORDER) >>> 0 > maxOrder(cpu)) return start;
  const done = yield* extents(cpu, command, d, list, start, nr);
  if (done >= 0) return done;
  setArg(cpu, 0, command | (~done << MEMOP_EXTENT_SHIFT), 0);
  return createContinuation(cpu, HYPERVISOR_memory_op);
}

/** Works on extents `start` .. `nr`-1; answers how many are done in all, or `~done` when it was preempted. */
function* extents(cpu: Cpu, command: number, d: DomainRef, list: Va, start: number, nr: number): Steps<number> {
  const noList = command === mem.XENMEM_increase_reservation && list === 0;
  for (let i = start; i < nr; i++) {
    if (i !== start && (yield* hypercallPreemptCheck(cpu))) return ~i;
    if (faultHit(cpu, SITE.memory_op) !== 0) return i;
    const at = (list + i * 8) as Va;
    const done =
      command === mem.XENMEM_decrease_reservation
        ? yield* decrease(cpu, d, at)
        : yield* add(cpu, command, d, at, noList);
    if (!done) return i;
  }
  return nr;
}

/** One extent more; its frame number goes to the guest (a frame the guest is not told of stays its own all the same). */
function* add(cpu: Cpu, command: number, d: DomainRef, at: Va, noList: boolean): Steps<boolean> {
  const populate = command === mem.XENMEM_populate_physmap;
  if (peek(vcpu.copied(cpu) + mem.RESERVATION_ORDER) !== 0) return false;
  if (populate && !(yield* copyFromVa(cpu, at, extent(cpu), 2))) return false;
  const mfn = yield* allocDomainFrame(cpu, d);
  if (mfn < 0) return false;
  if (populate) yield* setM2p(mfn, peek(extent(cpu)), peek(extent(cpu) + 1));
  if (noList) return true;
  poke(extent(cpu), mfn);
  poke(extent(cpu) + 1, 0);
  return yield* copyToVa(cpu, at, extent(cpu), 2);
}

/** One extent less: each of its frames loses its allocation reference. */
function* decrease(cpu: Cpu, d: DomainRef, at: Va): Steps<boolean> {
  if (!(yield* copyFromVa(cpu, at, extent(cpu), 2))) return false;
  const first = toMfn(peek(extent(cpu)), peek(extent(cpu) + 1));
  const frames = 1 << peek(vcpu.copied(cpu) + mem.RESERVATION_ORDER);
  if (first < 0) return false;
  for (let j = 0; j < frames; j++) {
    const mfn = (first + j) as Mfn;
    if (mfn >= FRAMES || !(yield* getPage(cpu, mfn, domidOf(d)))) return false;
    yield* putPageAllocRef(cpu, mfn);
    yield* putPage(cpu, mfn);
  }
  return true;
}
