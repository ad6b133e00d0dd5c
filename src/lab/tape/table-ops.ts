/**
 * Operations of a tape on whole grant tables: versions, sizes, frames, swaps, cache flushes.
 *
 * Source: tapes FORMAT.md (operations); xen/include/public/grant_table.h; [X59].
 */
import * as gnt from '../../abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../abi/hypercall.js';
import type { Steps } from '../../sync/steps.js';
import type { Answer } from './compare.js';
import { signed16 } from './grant-ops.js';
import type { TapeGuest } from './guest.js';
import type { OpOf } from './schema.js';
import { domidOf } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';

/** Where lists of frames are put. */
const LIST = 64;

export function* doSwap(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_swap'>): Steps<Answer> {
  yield* by.put(0, m.grefOf(by.name, op.a));
  yield* by.put(1, m.grefOf(by.name, op.b));
  yield* by.put(gnt.SWAP_STATUS, 0);
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_swap_grant_ref, by.pointer(0), 1);
  return { rc, status: signed16(yield* by.get(gnt.SWAP_STATUS)) };
}

export function* doSetVersion(by: TapeGuest, op: OpOf<'gnt_set_version'>): Steps<Answer> {
  yield* by.put(0, op.version);
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_set_version, by.pointer(0), 1);
  if (rc !== 0) return { rc };
  by.grantVersion = yield* by.get(0);
  return { rc, version: by.grantVersion };
}

export function* doGetVersion(by: TapeGuest, op: OpOf<'gnt_get_version'>): Steps<Answer> {
  yield* by.put(0, domidOf(op.dom));
  yield* by.put(gnt.GET_VERSION_RESULT, 0);
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_get_version, by.pointer(0), 1);
  return rc === 0 ? { rc, version: yield* by.get(gnt.GET_VERSION_RESULT) } : { rc };
}

export function* doQuerySize(by: TapeGuest, op: OpOf<'gnt_query_size'>): Steps<Answer> {
  yield* by.clear(0, gnt.QUERY_SIZE_WORDS);
  yield* by.put(0, domidOf(op.dom));
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_query_size, by.pointer(0), 1);
  const status = signed16(yield* by.get(gnt.QUERY_STATUS));
  if (status !== gnt.GNTST_okay) return { rc, status };
  return { rc, status, nr: yield* by.get(gnt.QUERY_NR), max: yield* by.get(gnt.QUERY_MAX) };
}

/** Asks for the frames of a table; they are found in the argument area from word LIST on. */
export function* setupTable(by: TapeGuest, domid: number, nr: number): Steps<{ rc: number; status: number }> {
  yield* by.clear(0, gnt.SETUP_TABLE_WORDS);
  yield* by.put(0, domid);
  yield* by.put(gnt.SETUP_NR, nr);
  yield* by.put64(gnt.SETUP_LIST, by.pointer(LIST));
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_setup_table, by.pointer(0), 1);
  return { rc, status: signed16(yield* by.get(gnt.SETUP_STATUS)) };
}
/** Frame `i` of the last list. */
export function* listedFrame(by: TapeGuest, i: number): Steps<number> {
  return yield* by.get(LIST + 2 * i);
}

export function* doSetupTable(by: TapeGuest, op: OpOf<'gnt_setup_table'>): Steps<Answer> {
  return yield* setupTable(by, domidOf(op.dom), op.nr);
}

/** Asks for the status frames of a version 2 table; found as those of `setupTable`. */
export function* statusFrames(by: TapeGuest, domid: number, nr: number): Steps<{ rc: number; status: number }> {
  yield* by.clear(0, gnt.STATUS_FRAMES_WORDS);
  yield* by.put(0, nr);
  yield* by.put(gnt.STATUS_FRAMES_DOM, domid);
  yield* by.put64(gnt.STATUS_FRAMES_LIST, by.pointer(LIST));
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_get_status_frames, by.pointer(0), 1);
  return { rc, status: (yield* by.get(gnt.STATUS_FRAMES_DOM)) >> 16 };
}

export function* doStatusFrames(by: TapeGuest, op: OpOf<'gnt_status_frames'>): Steps<Answer> {
  return yield* statusFrames(by, domidOf(op.dom), op.nr);
}

export function* doCacheFlush(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_cache_flush'>): Steps<Answer> {
  yield* by.clear(0, gnt.CACHE_FLUSH_WORDS);
  if (op.addr !== undefined) yield* by.put64(0, m.symbols.value(op.addr));
  else yield* by.put(0, m.grefOf(by.name, op.ref ?? 0));
  yield* by.put(gnt.CACHE_RANGE, op.off | (op.len << 16));
  yield* by.put(gnt.CACHE_OP, op.fop);
  return { rc: yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_cache_flush, by.pointer(0), 1) };
}
