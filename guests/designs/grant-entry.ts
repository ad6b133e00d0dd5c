/**
 * One granted user entry: which grant of which map it is, and how it is unmapped where the page tables say it stands.
 *
 * Rule [X48], [X52]: Xen is told the entry's machine address, computed now from the table it is in, never cached.
 * Invariant: a refused unmap changes nothing; its status decides, never the call's result alone.
 * Lock: the table's PTE lock for everything here; it guards the entry's user handle.
 * Source: linux-2.6.18-xen drivers/xen/gntdev/gntdev.c (gntdev_clear_pte), section 5 (a) of the Xen reference.
 */
import { PAGE_SIZE, type Pfn, type Va } from '../../src/abi/frames.js';
import { GNTST_okay } from '../../src/abi/grant.js';
import { mapCeil } from '../../src/shm/ordered-map.js';
import { ld, peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { entryOf, GE_USER, grantMap, NO_HANDLE, type GrantMap } from '../drivers/gntdev/map.js';
import { unmapKernel, userAnswer } from '../drivers/gntdev/unmap.js';
import type { KernelCpu } from '../kernel/context.js';
import { flushLazyMmu } from '../kernel/lazy.js';
import type { Mm } from '../kernel/mm.js';
import { pfnToMfn } from '../kernel/p2m.js';
import { machineHi, machineLo } from '../kernel/pte.js';
import { percpu } from '../kernel/records.js';
import { CLEAR_DONE, CLEAR_KEEP, CLEAR_PLAIN } from '../kernel/vm-ops.js';
import { vma, vmaAt, vmaEnd, VM_OPS_GNTDEV, vmaStart, type Vma } from '../kernel/vma.js';
import { keyHi, keyLo, ldVa } from '../kernel/words.js';
import { callUnmap, mapCapacity, putUnmap, unmapStatus } from '../xen/grant-ops.js';

/** Which grant of `map` is at `va`. */
export function* grantIndex(map: GrantMap, va: Va): Steps<number> {
  return (va - (yield* ldVa(grantMap.start(map)))) / PAGE_SIZE;
}

export const mapOfVma = (v: Vma): GrantMap => peek(vma.private(v)) as GrantMap;

/**
 * The VMA of grants at `va` of `m`: in its map, or among those this vCPU has detached to unmap them; 0 when there is
 * none. The caller unmaps or ends the mm, so neither map changes.
 */
export function* grantVma(c: KernelCpu, m: Mm, va: Va): Steps<Vma> {
  const linked = yield* vmaAt(m, va);
  const v = linked === 0 ? yield* detachedAt(c, m, va) : linked;
  return v !== 0 && (yield* ld(vma.ops(v))) === VM_OPS_GNTDEV ? v : (0 as Vma);
}

const NODE = vma.node(0 as Vma);

function* detachedAt(c: KernelCpu, m: Mm, va: Va): Steps<Vma> {
  const above = (va + 1) as Va;
  const node = yield* mapCeil(percpu.detached(c.pc), keyHi(above), keyLo(above));
  const v = (node === 0 ? 0 : node - NODE) as Vma;
  const here = v !== 0 && (yield* ld(vma.mm(v))) === m && vmaStart(v) <= va && va < vmaEnd(v);
  return here ? v : (0 as Vma);
}

/** Unmaps the entry `index` of `table` through `handle`; answers the status. */
export function* unmapUserEntry(c: KernelCpu, table: Pfn, index: number, handle: number): Steps<number> {
  const mfn = yield* pfnToMfn(c, table);
  yield* putUnmap(c, 0, machineLo(mfn, index), machineHi(mfn), handle);
  const r = yield* callUnmap(c, 1);
  return r < 0 ? r : yield* unmapStatus(c, 0);
}

/** Clears grant `i` of `map`, which is entry `index` of `table`, for the user; answers CLEAR_*. Lazy updates go first. */
export function* clearUserGrant(c: KernelCpu, map: GrantMap, i: number, table: Pfn, index: number): Steps<number> {
  const e = entryOf(map, i);
  const handle = yield* ld(e + GE_USER);
  if (handle === NO_HANDLE) return CLEAR_PLAIN;
  yield* flushLazyMmu(c);
  const status = yield* unmapUserEntry(c, table, index, handle);
  yield* userAnswer(c, map, e, status);
  return status === GNTST_okay ? CLEAR_DONE : CLEAR_KEEP;
}

/** Unmaps the kernel's mappings of the grants of `v`, whose user entries are gone, a capacity at a time. */
export function* unmapKernelOf(c: KernelCpu, v: Vma, map: GrantMap): Steps<void> {
  const first = Math.max(0, yield* grantIndex(map, vmaStart(v)));
  const end = Math.min(yield* ld(grantMap.count(map)), yield* grantIndex(map, vmaEnd(v)));
  yield* unmapKernelRange(c, map, first, end);
}

/** The same for the whole map: what an earlier attempt could not unmap is tried again. */
export function* unmapKernelRange(c: KernelCpu, map: GrantMap, first: number, end: number): Steps<void> {
  const most = mapCapacity(c);
  for (let at = first; at < end; at += most) yield* unmapKernel(c, map, at, Math.min(most, end - at));
}
