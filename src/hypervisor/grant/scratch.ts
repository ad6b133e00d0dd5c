/**
 * Words of the running vCPU that one grant-table call uses between its steps: no object is made for an operation.
 *
 * Invariant: nothing here outlives one entry into the hypervisor; a continuation starts from the guest's arguments.
 * Lock: none; the words are the vCPU's own (`vcpu.batch`, 192 words), hence `peek` and `poke`.
 * Source: struct gnttab_unmap_common, struct gnttab_copy_buf, xen/common/grant_table.c.
 */
import { vcpu } from '../../machine/cpu-record.js';
import { record, type Ref } from '../../shm/record.js';
import type { Cpu } from '../../sync/actor.js';

/** Unmap operations between two TLB flushes. */
export const GNTTAB_UNMAP_BATCH_SIZE = 32;

/** What the first pass of an unmap leaves for the second. */
export const unmapState = record('unmapState', {
  /** The halves undone (GNTMAP_host_map, GNTMAP_device_map), GNTMAP_readonly as it was mapped, DONE_LAST. */
  done: 1,
  mfn: 1,
  /** The granter's domain record. */
  granter: 1,
  ref: 1,
});
export type UnmapState = Ref<'unmapState'>;
export const unmapStateAt = (cpu: Cpu, i: number): UnmapState => (vcpu.batch(cpu) + i * unmapState.words) as UnmapState;

/** A grant that is being taken or let go: who, which, for whom; and, while its entry is locked, where. */
export const claim = record('grantClaim', {
  granter: 1,
  table: 1,
  ref: 1,
  /** Domain the access is for. */
  domid: 1,
  /** CLAIM_* bits. */
  how: 1,
  /** Set when the entry is opened: version, address of the shared entry, half word of the status (NO_STATUS: none). */
  version: 1,
  shah: 1,
  half: 1,
  /** What was got: frame, usable bytes (as in an active entry), and whether a reference came with it. */
  mfn: 1,
  range: 1,
  gotPage: 1,
  /** The grant behind it. */
  behind: 1,
  behindRef: 1,
  /** References a map took: general, and of type writable. */
  refs: 1,
  types: 1,
});
export type Claim = Ref<'grantClaim'>;

/** For a map: no sub-page, no transitive entry. */
export const CLAIM_MAP = 1;
/** For reading only. */
export const CLAIM_READONLY = 2;

/** The grant an operation names; and, for a copy, the one behind a transitive grant. */
export const outerClaim = (cpu: Cpu): Claim => (vcpu.batch(cpu) + 128) as Claim;
export const innerClaim = (cpu: Cpu): Claim => (vcpu.batch(cpu) + 144) as Claim;

/** Entry stolen by unmap_and_replace, two words. */
export const stolenLo = (cpu: Cpu): number => vcpu.batch(cpu) + 160;
export const stolenHi = (cpu: Cpu): number => vcpu.batch(cpu) + 161;

/** One side of a copy: what it holds from one operation of the batch to the next. */
export const copyBuf = record('copyBuf', {
  /** Domain record; 0: none. */
  domain: 1,
  domid: 1,
  /** Reference, or the frame number as two words. */
  refLo: 1,
  refHi: 1,
  mfn: 1,
  /** Usable bytes, as in an active entry. */
  range: 1,
  /** HOLDS_* bits. */
  holds: 1,
});
export type CopyBuf = Ref<'copyBuf'>;
export const HOLDS_PAGE = 1;
export const HOLDS_GRANT = 2;
export const HOLDS_TYPE = 4;
/** Ready to be copied from or to (Xen: mapped). */
export const HOLDS_ALL = 8;

export const copySource = (cpu: Cpu): CopyBuf => (vcpu.batch(cpu) + 164) as CopyBuf;
export const copyDest = (cpu: Cpu): CopyBuf => (vcpu.batch(cpu) + 172) as CopyBuf;
/** One frame number on its way to the guest. */
export const listed = (cpu: Cpu): number => vcpu.batch(cpu) + 162;
/** Eight v1 entries, kept over a change of version. */
export const reservedEntries = (cpu: Cpu): number => vcpu.batch(cpu) + 164;
