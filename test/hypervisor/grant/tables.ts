/** Looks into a grant table of a still machine, without the code under test: lists of handles, pins, shared bits. */
import { GRANT_STATUS_PER_FRAME, GRANT_V1_PER_FRAME, GRANT_V2_PER_FRAME } from '../../../src/abi/grant.js';
import { active, type Active } from '../../../src/hypervisor/grant/active.js';
import { freeList, freeListOf, mapping, NO_HANDLE, type Mapping } from '../../../src/hypervisor/grant/maptrack.js';
import { grantTable, type GrantTable } from '../../../src/hypervisor/grant/table.js';
import { peek } from '../../../src/sync/primitives.js';

export const maptrackLimit = (gt: GrantTable): number => peek(grantTable.maptrackLimit(gt));

const entryOf = (gt: GrantTable, handle: number): Mapping =>
  (peek(peek(grantTable.maptrackList(gt)) + (handle >>> 8)) + (handle & 255) * 4) as Mapping;

export interface Live {
  readonly handle: number;
  readonly ref: number;
  readonly flags: number;
  readonly domid: number;
}

/** Every live entry of the maptrack. */
export function liveMappings(gt: GrantTable): Live[] {
  const out: Live[] = [];
  for (let handle = 0; handle < maptrackLimit(gt); handle++) {
    const e = entryOf(gt, handle);
    const flags = peek(mapping.flags(e));
    if (flags !== 0) out.push({ handle, ref: peek(mapping.ref(e)), flags, domid: peek(mapping.domid(e)) });
  }
  return out;
}
export const liveHandles = (gt: GrantTable): number[] => liveMappings(gt).map((l) => l.handle);

/** The free lists, one per vCPU; a cycle or a number beyond the limit is an error, and so is a wrong tail. */
export function freeLists(gt: GrantTable): number[][] {
  const seen = new Set<number>();
  return Array.from({ length: peek(grantTable.vcpus(gt)) }, (_, v) => {
    const list = freeListOf(gt, v);
    const out: number[] = [];
    for (let h = peek(freeList.head(list)); h !== NO_HANDLE; h = peek(mapping.ref(entryOf(gt, h)))) {
      if (seen.has(h) || h >= maptrackLimit(gt))
        throw new Error(`handle ${String(h)} on two lists, or on none of ours`);
      seen.add(h);
      out.push(h);
    }
    if ((out.at(-1) ?? NO_HANDLE) !== peek(freeList.tail(list)))
      throw new Error('a free list does not end at its tail');
    return out;
  });
}
export const freeHandles = (gt: GrantTable): number[] => freeLists(gt).flat();

/** References of the table as it is now. */
export const entriesOf = (gt: GrantTable): number =>
  peek(grantTable.nrGrantFrames(gt)) * (peek(grantTable.version(gt)) === 1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME);

const activeAt = (gt: GrantTable, ref: number): Active =>
  (peek(peek(grantTable.activeList(gt)) + (ref >>> 7)) + (ref & 127) * 8) as Active;
export const pinOf = (gt: GrantTable, ref: number): number => peek(active.pin(activeAt(gt, ref)));
export const pinnedFrame = (gt: GrantTable, ref: number): number => peek(active.mfn(activeAt(gt, ref)));
export const activeLocked = (gt: GrantTable, ref: number): boolean => peek(active.lock(activeAt(gt, ref))) !== 0;

/** Address of the shared entry's first word. */
export function entryWord(gt: GrantTable, ref: number): number {
  const v1 = peek(grantTable.version(gt)) === 1;
  const per = v1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME;
  const mfn = peek(peek(grantTable.sharedList(gt)) + Math.floor(ref / per));
  return mfn * 1024 + (ref % per) * (v1 ? 2 : 4);
}

/** The bits by which the granter sees the grant in use. */
export function claimsOf(gt: GrantTable, ref: number): number {
  if (peek(grantTable.version(gt)) === 1) return peek(entryWord(gt, ref)) & 0x18;
  const mfn = peek(peek(grantTable.statusList(gt)) + Math.floor(ref / GRANT_STATUS_PER_FRAME));
  const at = ref % GRANT_STATUS_PER_FRAME;
  return (peek(mfn * 1024 + (at >>> 1)) >>> ((at & 1) * 16)) & 0xffff;
}
