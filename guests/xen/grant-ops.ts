/**
 * Grant operations: arrays of Xen's structures in the vCPU's own area, and the answers in them.
 *
 * Invariant: the area belongs to this vCPU from the first `put` to the last status read; nothing that runs as an
 * interrupt uses it.
 * Lock: none. Source: xen/include/public/grant_table.h; ../linux-teardown item 9 (one call for a whole range).
 */
import { vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import {
  GNTTABOP_map_grant_ref,
  GNTTABOP_unmap_grant_ref,
  MAP_DOM,
  MAP_FLAGS,
  MAP_GRANT_WORDS,
  MAP_HANDLE,
  MAP_REF,
  REPLACE_NEW,
  UNMAP_GRANT_WORDS,
  UNMAP_HANDLE,
  UNMAP_STATUS,
} from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../src/abi/hypercall.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import { WARN } from '../kernel/counters.js';
import { warn } from '../kernel/count.js';
import { percpu } from '../kernel/records.js';
import { peekVa } from '../kernel/words.js';

const opVa = (c: KernelCpu, i: number, words: number): Va => (peekVa(percpu.areaVa(c.pc)) + i * words * 4) as Va;
/** Operations that fit in the area. */
export const mapCapacity = (c: KernelCpu): number =>
  Math.floor((peek(percpu.areaPages(c.pc)) * 1024) / MAP_GRANT_WORDS);

/** Puts map operation `i`: (hostLo, hostHi) is the machine address of an entry, or a virtual address. */
export function* putMap(
  c: KernelCpu,
  i: number,
  hostLo: number,
  hostHi: number,
  flags: number,
  ref: number,
  domid: number,
): Steps<void> {
  const s = percpu.scratch(c.pc);
  for (let w = 0; w < MAP_GRANT_WORDS; w++) poke(s + w, 0);
  poke(s, hostLo);
  poke(s + 1, hostHi);
  poke(s + MAP_FLAGS, flags);
  poke(s + MAP_REF, ref);
  poke(s + MAP_DOM, domid & 0xffff);
  yield* c.g.storeWords(opVa(c, i, MAP_GRANT_WORDS), s, MAP_GRANT_WORDS);
}

/** Puts unmap operation `i`; of an unmap_and_replace, `replacement` is the address whose entry is to move in. */
export function* putUnmap(
  c: KernelCpu,
  i: number,
  hostLo: number,
  hostHi: number,
  handle: number,
  replacement: Va = 0 as Va,
): Steps<void> {
  const s = percpu.scratch(c.pc);
  for (let w = 0; w < UNMAP_GRANT_WORDS; w++) poke(s + w, 0);
  poke(s, hostLo);
  poke(s + 1, hostHi);
  poke(s + REPLACE_NEW, vaLo(replacement));
  poke(s + REPLACE_NEW + 1, vaHi(replacement));
  poke(s + UNMAP_HANDLE, handle);
  yield* c.g.storeWords(opVa(c, i, UNMAP_GRANT_WORDS), s, UNMAP_GRANT_WORDS);
}

/** Makes the call over the first `n` operations put. Answers 0 or -errno; each operation has its own status. */
function* grantCall(c: KernelCpu, cmd: number, n: number): Steps<number> {
  c.g.arg(0, cmd, 0);
  c.g.argVa(1, peekVa(percpu.areaVa(c.pc)));
  c.g.arg(2, n, 0);
  const r = yield* c.g.hypercall(HYPERVISOR_grant_table_op);
  if (r < 0) yield* warn(c, WARN.hypercall, -r);
  return r;
}

export function* callMap(c: KernelCpu, n: number): Steps<number> {
  return yield* grantCall(c, GNTTABOP_map_grant_ref, n);
}
/** Unmaps, or with GNTTABOP_unmap_and_replace as `command` replaces. */
export function* callUnmap(c: KernelCpu, n: number, command = GNTTABOP_unmap_grant_ref): Steps<number> {
  return yield* grantCall(c, command, n);
}

/** GNTST_* of map operation `i`. */
export function* mapStatus(c: KernelCpu, i: number): Steps<number> {
  return (yield* c.g.load32((opVa(c, i, MAP_GRANT_WORDS) + 4 * MAP_DOM) as Va)) >> 16;
}
export function* mapHandle(c: KernelCpu, i: number): Steps<number> {
  return yield* c.g.load32((opVa(c, i, MAP_GRANT_WORDS) + 4 * MAP_HANDLE) as Va);
}
/** GNTST_* of unmap operation `i`. */
export function* unmapStatus(c: KernelCpu, i: number): Steps<number> {
  return ((yield* c.g.load32((opVa(c, i, UNMAP_GRANT_WORDS) + 4 * UNMAP_STATUS) as Va)) << 16) >> 16;
}
