/**
 * Random grant table operations, in batches of a few; what they answer is learnt in `learn.ts`.
 *
 * Each function prepares one call; `at` is where its structures will lie in the guest's memory.
 */
import { DOMID_SELF, vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../src/abi/hypercall.js';
import { peek } from '../../src/sync/primitives.js';
import { peekVa } from '../kernel/words.js';
import { below, chance, HANDLE_WORDS, hostile, isWild, MAX_HANDLES, type Hostile } from './record.js';
import {
  begin,
  domid,
  frameHi,
  freshFrame,
  gref,
  knownRef,
  mfn,
  noise,
  noted,
  oneOf,
  otherDomain,
  pageVa,
  register,
  small,
  vaRegister,
  vaWords,
  wide,
  wildVa,
  word,
} from './values.js';

const HOST = gnt.GNTMAP_host_map;
const READ = gnt.GNTMAP_readonly;
const DEVICE = gnt.GNTMAP_device_map;
const PTE = gnt.GNTMAP_contains_pte;
const MAP_FLAGS: readonly number[] = [
  HOST,
  HOST,
  HOST | READ,
  HOST | PTE,
  HOST | PTE | READ,
  DEVICE,
  DEVICE | READ,
  HOST | DEVICE,
];
const QUERIES: readonly number[] = [
  gnt.GNTTABOP_setup_table,
  gnt.GNTTABOP_query_size,
  gnt.GNTTABOP_set_version,
  gnt.GNTTABOP_get_status_frames,
  gnt.GNTTABOP_get_version,
  gnt.GNTTABOP_swap_grant_ref,
  gnt.GNTTABOP_cache_flush,
];
const ENTRY_TYPES: readonly number[] = [
  0,
  1,
  1,
  1,
  1,
  1 | gnt.GTF_readonly,
  2,
  3,
  1 | gnt.GTF_sub_page,
  1 | gnt.GTF_PCD,
];
/** A status that Xen has not written: no operation is taken for carried out that was not looked at. */
const UNANSWERED = gnt.GNTST_general_error;
/** Where query structures have their lists written. */
export const LIST_BYTES = 256;

function batch(h: Hostile, at: Va, command: number, n: number): void {
  register(h, 0, isWild(h) ? noise(h) : command, 0);
  vaRegister(h, 1, isWild(h) ? wildVa(h) : at);
  register(h, 2, isWild(h) ? noise(h) : n, 0);
}

/** The machine address of an entry of the window's L1, or of any frame; else an address of the window. */
function hostAddress(h: Hostile, i: number, containsPte: boolean): void {
  if (containsPte) {
    const table = chance(h, 230) ? peek(hostile.windowL1(h)) : mfn(h, 1);
    const slot = isWild(h) ? below(h, 4096) : 8 * below(h, peek(hostile.windowPages(h)));
    wide(h, i, (table << 12) | slot, table >>> 20);
  } else vaWords(h, i, pageVa(h));
}

export function map(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const n = 1 + below(h, chance(h, 40) ? 8 : 3);
  for (let k = 0; k < n; k++) {
    const i = k * gnt.MAP_GRANT_WORDS;
    const flags = isWild(h) ? noise(h) : oneOf(h, MAP_FLAGS);
    hostAddress(h, i, (flags & PTE) !== 0);
    word(h, i + gnt.MAP_FLAGS, flags);
    const known = knownRef(h);
    word(h, i + gnt.MAP_REF, known === 0 ? gref(h) : peek(known + 1));
    const who = known === 0 ? (chance(h, 230) ? otherDomain(h) : domid(h)) : noted(h, peek(known));
    word(h, i + gnt.MAP_DOM, who);
    word(h, i + gnt.MAP_HANDLE, -1);
    wide(h, i + gnt.MAP_DEV, 0, 0);
  }
  batch(h, at, gnt.GNTTABOP_map_grant_ref, n);
}

/** Address of a remembered handle, or 0. */
function remembered(h: Hostile): number {
  const n = Math.min(peek(hostile.nHandles(h)), MAX_HANDLES);
  return n === 0 || isWild(h) ? 0 : hostile.handles(h) + below(h, n) * HANDLE_WORDS;
}

export function unmap(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const n = 1 + below(h, chance(h, 40) ? 8 : 3);
  for (let k = 0; k < n; k++) {
    const i = k * gnt.UNMAP_GRANT_WORDS;
    unmapFields(h, i);
    wide(h, i + gnt.UNMAP_DEV, isWild(h) ? noise(h) : 0, 0);
    word(h, i + gnt.UNMAP_STATUS, 0);
  }
  batch(h, at, gnt.GNTTABOP_unmap_grant_ref, n);
}

export function unmapAndReplace(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const n = 1 + below(h, 2);
  for (let k = 0; k < n; k++) {
    const i = k * gnt.REPLACE_WORDS;
    unmapFields(h, i);
    if (chance(h, 220)) vaWords(h, i + gnt.REPLACE_NEW, pageVa(h));
    else wide(h, i + gnt.REPLACE_NEW, 0, 0);
    word(h, i + gnt.REPLACE_STATUS, 0);
  }
  batch(h, at, gnt.GNTTABOP_unmap_and_replace, n);
}

/** Host address and handle of an unmap. */
function unmapFields(h: Hostile, i: number): void {
  const known = remembered(h);
  if (known === 0 || chance(h, 16)) hostAddress(h, i, chance(h, 64));
  else wide(h, i, peek(known + 2), peek(known + 3));
  word(h, i + gnt.UNMAP_HANDLE, known === 0 ? small(h, 40) : peek(known));
}

export function copy(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const n = 1 + below(h, 4);
  for (let k = 0; k < n; k++) copyOp(h, k * gnt.COPY_WORDS);
  batch(h, at, gnt.GNTTABOP_copy, n);
}

function copyOp(h: Hostile, i: number): void {
  let flags = oneOf(h, [0, gnt.GNTCOPY_source_gref, gnt.GNTCOPY_dest_gref, 3]);
  copyPart(h, i + gnt.COPY_SOURCE, (flags & gnt.GNTCOPY_source_gref) !== 0);
  copyPart(h, i + gnt.COPY_DEST, (flags & gnt.GNTCOPY_dest_gref) !== 0);
  if (isWild(h)) flags = noise(h);
  const length = isWild(h) ? noise(h) : oneOf(h, [0, 1, 64, 512, 2048, 4096]);
  word(h, i + gnt.COPY_LEN, (length & 0xffff) | (flags << 16));
  word(h, i + gnt.COPY_STATUS, UNANSWERED);
}

function copyPart(h: Hostile, i: number, granted: boolean): void {
  const known = granted ? knownRef(h) : 0;
  if (granted) wide(h, i, known === 0 ? gref(h) : peek(known + 1), 0);
  else wide(h, i, mfn(h, 0), frameHi(h));
  const other = (): number => (known === 0 ? otherDomain(h) : noted(h, peek(known)));
  const who = granted ? other() : chance(h, 240) ? DOMID_SELF : domid(h);
  const offset = isWild(h) ? noise(h) : oneOf(h, [0, 0, 0, 1, 64, 2048]);
  word(h, i + gnt.COPY_PTR_WHERE, (who & 0xffff) | (offset << 16));
  word(h, i + 3, 0);
}

export function transfer(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const n = 1 + below(h, 2);
  for (let k = 0; k < n; k++) {
    const i = k * gnt.TRANSFER_WORDS;
    wide(h, i, freshFrame(h), frameHi(h));
    word(h, i + gnt.TRANSFER_DOM, otherDomain(h));
    word(h, i + gnt.TRANSFER_REF, gref(h));
    wide(h, i + gnt.TRANSFER_STATUS, 0, 0);
  }
  batch(h, at, gnt.GNTTABOP_transfer, n);
}

/** Set-up, versions, sizes, swaps, cache flushes. */
export function query(h: Hostile, at: Va): void {
  begin(h, HYPERVISOR_grant_table_op);
  const command = oneOf(h, QUERIES);
  const list = isWild(h) ? wildVa(h) : ((at + LIST_BYTES) as Va);
  for (let i = 0; i < 6; i++) word(h, i, 0);
  if (command === gnt.GNTTABOP_setup_table) {
    word(h, 0, chance(h, 200) ? DOMID_SELF : domid(h));
    word(h, gnt.SETUP_NR, small(h, 4));
    wide(h, gnt.SETUP_LIST, vaLo(list), vaHi(list));
  } else if (command === gnt.GNTTABOP_get_status_frames) {
    word(h, 0, small(h, 3));
    word(h, gnt.STATUS_FRAMES_DOM, chance(h, 200) ? DOMID_SELF : domid(h));
    wide(h, gnt.STATUS_FRAMES_LIST, vaLo(list), vaHi(list));
  } else if (command === gnt.GNTTABOP_set_version) {
    // Rarely on to version 2 and back: a change needs every entry unused.
    word(h, 0, isWild(h) ? noise(h) : 1 + below(h, 2));
  } else if (command === gnt.GNTTABOP_swap_grant_ref) {
    wide(h, 0, gref(h), gref(h));
  } else if (command === gnt.GNTTABOP_cache_flush) {
    wide(h, 0, (mfn(h, 0) << 12) | below(h, 4096), frameHi(h));
    word(h, gnt.CACHE_RANGE, (small(h, 4096) & 0xffff) | (small(h, 4096) << 16));
    word(h, gnt.CACHE_OP, small(h, 4));
  } else word(h, 0, domid(h));
  batch(h, at, command, 1);
}

/** Address and value of a store into the own grant table: an entry given out, changed or taken back. */
export interface EntryStore {
  readonly va: Va;
  readonly lo: number;
  readonly hi: number;
}

/**
 * One 64-bit word of the seen grant frames: flags, domid and (version 1) frame; in a table of version 2 also the range of
 * a sub-page grant or the domain of a transitive one, or the entry's second word, the frame or the reference.
 */
export function entryStore(h: Hostile): EntryStore {
  const v2 = peek(hostile.grantVersion(h)) === 2;
  const page = below(h, peek(hostile.grantPages(h)));
  const ref = (chance(h, 16) ? below(h, 512) : gref(h)) & (v2 ? 255 : 511);
  const va = (peekVa(hostile.grantVa(h)) + 4096 * page + (v2 ? 16 : 8) * ref) as Va;
  if (isWild(h)) return { va, lo: noise(h), hi: noise(h) };
  if (v2 && chance(h, 128)) {
    return { va: (va + 8) as Va, lo: chance(h, 40) ? gref(h) : mfn(h, 0), hi: frameHi(h) };
  }
  const type = oneOf(h, ENTRY_TYPES);
  const lo = type | ((otherDomain(h) & 0xffff) << 16);
  if (!v2) return { va, lo, hi: mfn(h, chance(h, 40) ? 1 : 0) };
  return { va, lo, hi: type === gnt.GTF_transitive ? otherDomain(h) : below(h, 2048) | (below(h, 4096) << 16) };
}
