/**
 * Mapping a grant map into a process: the user entries in one call, then p2m, then the kernel mappings in another.
 *
 * Invariant: the tables for the whole VMA exist before the first call; an entry's machine address is taken once and
 * stays, for tables of a grant VMA are neither moved nor freed before its entries are gone.
 * Lock: mmapLock exclusive; PTE locks only where the design asks for them; map.lock around the bookkeeping.
 * Source: Linux drivers/xen/gntdev.c (find_grant_ptes, gntdev_map_grant_pages), [X77]; ../linux-teardown setupmap.*.
 */
import { EFAULT, EINVAL } from '../../../src/abi/errno.js';
import { PAGE_SIZE, vaHi, vaLo, type Va } from '../../../src/abi/frames.js';
import {
  GNTMAP_application_map,
  GNTMAP_contains_pte,
  GNTMAP_guest_avail0,
  GNTMAP_host_map,
  GNTMAP_readonly,
  GNTST_okay,
} from '../../../src/abi/grant.js';
import { entryMfn } from '../../../src/abi/pte.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { add, and, hi64, or, peek, poke } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { KernelCpu } from '../../kernel/context.js';
import { COUNT, WARN } from '../../kernel/counters.js';
import { count, warn } from '../../kernel/count.js';
import { addVa, directVa, PFN_NONE } from '../../kernel/layout.js';
import { klock, kunlock } from '../../kernel/lock.js';
import { mm, type Mm } from '../../kernel/mm.js';
import { entryPfn, P2M_FOREIGN, P2M_INVALID, pfnToMfn, setP2m } from '../../kernel/p2m.js';
import { page, pageOf, PG_foreign } from '../../kernel/page.js';
import { machineHi, machineLo, readEntry } from '../../kernel/pte.js';
import { ptlOf } from '../../kernel/ptl.js';
import { kernel } from '../../kernel/records.js';
import { vmaStart, type Vma } from '../../kernel/vma.js';
import { findL1, indexAt, makeL1 } from '../../kernel/walk.js';
import { callMap, mapCapacity, mapHandle, mapStatus, putMap } from '../../xen/grant-ops.js';
import { backingOf } from './backing.js';
import {
  entryOf,
  GE_DOMID,
  GE_KERNEL,
  GE_PTE_HI,
  GE_PTE_LO,
  GE_REF,
  GE_USER,
  grantMap,
  lockMap,
  mapCount,
  pfnOfEntry,
  unlockMap,
  type GrantMap,
} from './map.js';
import { MARK } from '../../../src/abi/marks.js';
import { mark } from '../../kernel/mark.js';
import { enterLazyMmu, leaveLazyMmu } from '../../kernel/lazy.js';

const pageVa = (v: Vma, i: number): Va => addVa(vmaStart(v), i * PAGE_SIZE);
const rights = (map: GrantMap): number => (peek(grantMap.readonly(map)) !== 0 ? GNTMAP_readonly : 0);

/**
 * Makes the tables and notes each entry's machine address; false when memory is short. apply_to_page_range: per table
 * one look under its lock, in lazy-MMU mode, for nothing is stored.
 */
export function* findGrantPtes(c: KernelCpu, m: Mm, map: GrantMap, v: Vma): Steps<boolean> {
  const n = mapCount(map);
  for (let first = 0; first < n;) {
    const end = Math.min(n, firstOfNextTable(v, first, n));
    const table = yield* makeL1(c, m, pageVa(v, first));
    if (table === PFN_NONE) return false;
    const mfn = yield* pfnToMfn(c, table);
    yield* klock(c, ptlOf(c, table), RANK.guestPteLock);
    enterLazyMmu(c);
    for (let i = first; i < end; i++) {
      poke(entryOf(map, i) + GE_PTE_LO, machineLo(mfn, indexAt(pageVa(v, i), 1)));
      poke(entryOf(map, i) + GE_PTE_HI, machineHi(mfn));
    }
    yield* leaveLazyMmu(c);
    yield* kunlock(c, ptlOf(c, table));
    first = end;
  }
  return true;
}

/** Maps everything; 0, or -EINVAL when any grant was refused, -ENOMEM. What was mapped stays for the caller to unmap. */
export function* mapGrantPages(c: KernelCpu, m: Mm, map: GrantMap, v: Vma): Steps<number> {
  const n = mapCount(map);
  let failed = 0;
  mark(c, MARK.gntdev_map_grant_pages);
  for (let first = 0; first < n;) {
    const end = c.design.mapUnderPteLock ? firstOfNextTable(v, first, n) : n;
    const last = Math.min(end, first + mapCapacity(c));
    failed += yield* mapUser(c, m, map, v, first, last);
    first = last;
  }
  for (let first = 0; first < n; first += mapCapacity(c)) {
    failed += yield* mapKernel(c, map, first, Math.min(n, first + mapCapacity(c)));
  }
  return failed === 0 ? 0 : -EINVAL;
}

/** The first page after `first` that another L1 maps. */
function firstOfNextTable(v: Vma, first: number, n: number): number {
  return Math.min(n, first + 512 - indexAt(pageVa(v, first), 1));
}

function* mapUser(c: KernelCpu, m: Mm, map: GrantMap, v: Vma, first: number, end: number): Steps<number> {
  const table = yield* findL1(c, m, pageVa(v, first));
  const ptl = ptlOf(c, table);
  const flags = GNTMAP_host_map | GNTMAP_application_map | GNTMAP_contains_pte | (1 << GNTMAP_guest_avail0);
  if (c.design.mapUnderPteLock) yield* klock(c, ptl, RANK.guestPteLock);
  for (let i = first; i < end; i++) {
    const e = entryOf(map, i);
    const host = [peek(e + GE_PTE_LO), peek(e + GE_PTE_HI)] as const;
    yield* putMap(c, i - first, host[0], host[1], flags | rights(map), peek(e + GE_REF), peek(e + GE_DOMID));
  }
  const r = yield* callMap(c, end - first);
  let failed = 0;
  for (let i = first; i < end; i++) {
    const status = r < 0 ? -EFAULT : yield* mapStatus(c, i - first);
    if (status === GNTST_okay) yield* installed(c, m, map, v, i, yield* mapHandle(c, i - first));
    else {
      failed++;
      yield* warn(c, WARN.grantMap, -status);
    }
  }
  if (c.design.mapUnderPteLock) yield* kunlock(c, ptl);
  return failed;
}

function* installed(c: KernelCpu, m: Mm, map: GrantMap, v: Vma, i: number, handle: number): Steps<void> {
  poke(entryOf(map, i) + GE_USER, handle);
  yield* add(grantMap.live(map), 1);
  yield* add(mm.granted(m), 1);
  yield* count(c, COUNT.grantsMapped);
  const table = yield* findL1(c, m, pageVa(v, i));
  yield* c.design.mapInstalled(c, map, i, table, indexAt(pageVa(v, i), 1), handle);
}

/** p2m of the borrowed pages, then their kernel mappings, up to the first page whose place does not become free. */
function* mapKernel(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<number> {
  yield* lockMap(c, map);
  let last = first;
  for (; last < end; last++) {
    const e = entryOf(map, last);
    if (!(yield* backingOf(c).vacate(c, pfnOfEntry(e)))) break;
    yield* noteForeign(c, e);
    const va = directVa(pfnOfEntry(e));
    const flags = GNTMAP_host_map | rights(map);
    yield* putMap(c, last - first, vaLo(va), vaHi(va), flags, peek(e + GE_REF), peek(e + GE_DOMID));
  }
  const r = last === first ? 0 : yield* callMap(c, last - first);
  let failed = end - last;
  for (let i = first; i < last; i++) {
    const status = r < 0 ? -EFAULT : yield* mapStatus(c, i - first);
    if (status === GNTST_okay) {
      poke(entryOf(map, i) + GE_KERNEL, yield* mapHandle(c, i - first));
      yield* add(grantMap.live(map), 1);
    } else {
      failed++;
      yield* warn(c, WARN.grantMap, -status);
      yield* noteOwn(c, entryOf(map, i));
    }
  }
  yield* unlockMap(c, map);
  return failed;
}

/** The kernel has no mapping there after all: the page has no frame again. */
function* noteOwn(c: KernelCpu, e: number): Steps<void> {
  yield* setP2m(c, pfnOfEntry(e), P2M_INVALID);
  yield* and(page.flags(pageOf(c.k, pfnOfEntry(e))), ~PG_foreign);
}

/** set_foreign_p2m_mapping: the page has, for now, the frame that its user entry names. */
function* noteForeign(c: KernelCpu, e: number): Steps<void> {
  if (peek(e + GE_USER) === -1) return;
  const table = yield* entryPfn(c, peek(e + GE_PTE_LO), peek(e + GE_PTE_HI));
  const lo = yield* readEntry(c, table, (peek(e + GE_PTE_LO) & 0xfff) >>> 3);
  const mfn = entryMfn(lo, hi64(), peek(kernel.frames(c.k)));
  if (mfn < 0) return;
  yield* setP2m(c, pfnOfEntry(e), mfn | P2M_FOREIGN);
  yield* or(page.flags(pageOf(c.k, pfnOfEntry(e))), PG_foreign);
}
