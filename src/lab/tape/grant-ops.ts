/**
 * Operations of a tape on grants: map, unmap, replace, copy, transfer, and the owner's store of an entry.
 *
 * Source: tapes FORMAT.md (operations); xen/include/public/grant_table.h; [X38], [X50]-[X58].
 */
import * as gnt from '../../abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../abi/hypercall.js';
import type { Steps } from '../../sync/steps.js';
import type { Answer } from './compare.js';
import { OWN_GRANTS_VA, PROBE_VA, type TapeGuest } from './guest.js';
import type { MapEntry, OpOf, UnmapEntry } from './schema.js';
import { domidOf, vaWord } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';
import { fromInteger, parseHex, ZERO64, type Word64 } from './value.js';
import type { Va } from '../../abi/frames.js';

const RW_ENTRY = 0x67;

/** A status: the signed 16 bits of a structure's word. */
export const signed16 = (w: number): number => (w << 16) >> 16;

/** host_addr: a virtual address, or the machine address of an entry, or none. */
function hostAddress(m: TapeMachine, e: MapEntry | UnmapEntry): Word64 {
  if (e.pte !== undefined) return m.symbols.machineAddress(e.pte.f, 8 * e.pte.i + (e.pte.low ?? 0));
  if (e.va !== undefined) return vaWord(e.va, e.off);
  return 'addr' in e && e.addr !== undefined ? parseHex(e.addr) : ZERO64;
}

export function* doGrantMap(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_map'>): Steps<Answer> {
  const n = op.maps.length;
  for (const [k, e] of op.maps.entries()) {
    const base = k * gnt.MAP_GRANT_WORDS;
    yield* by.clear(base, gnt.MAP_GRANT_WORDS);
    yield* by.put64(base, hostAddress(m, e));
    yield* by.put(base + gnt.MAP_FLAGS, e.flags);
    yield* by.put(base + gnt.MAP_REF, m.gref(e.dom, by, e.ref));
    yield* by.put(base + gnt.MAP_DOM, domidOf(e.dom));
  }
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_map_grant_ref, by.pointer(0), n);
  const r: NonNullable<Answer['r']> = [];
  for (const [k, e] of op.maps.entries()) {
    const base = k * gnt.MAP_GRANT_WORDS;
    const status = (yield* by.get(base + gnt.MAP_DOM)) >> 16;
    const dev = yield* by.get64(base + gnt.MAP_DEV);
    const okay = status === gnt.GNTST_okay;
    m.handles.set(e.h, okay ? yield* by.get(base + gnt.MAP_HANDLE) : gnt.INVALID_HANDLE);
    r.push(okay ? { status, dev: m.symbols.encode(dev.lo, dev.hi) } : { status });
  }
  return { rc, r };
}

function handle(m: TapeMachine, e: { h?: number | undefined; rawh?: string | undefined }): number {
  if (e.rawh !== undefined) return parseHex(e.rawh).lo;
  return m.handles.get(e.h ?? -1) ?? gnt.INVALID_HANDLE;
}

export function* doGrantUnmap(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_unmap'>): Steps<Answer> {
  const n = op.unmaps.length;
  for (const [k, e] of op.unmaps.entries()) {
    const base = k * gnt.UNMAP_GRANT_WORDS;
    yield* by.clear(base, gnt.UNMAP_GRANT_WORDS);
    yield* by.put64(base, hostAddress(m, e));
    if (e.dev !== undefined) yield* by.put64(base + gnt.UNMAP_DEV, m.symbols.value(e.dev));
    yield* by.put(base + gnt.UNMAP_HANDLE, handle(m, e));
  }
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_unmap_grant_ref, by.pointer(0), n);
  const status: number[] = [];
  for (let k = 0; k < n; k++) status.push(signed16(yield* by.get(k * gnt.UNMAP_GRANT_WORDS + gnt.UNMAP_STATUS)));
  return { rc, status };
}

export function* doGrantReplace(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_replace'>): Steps<Answer> {
  yield* by.clear(0, gnt.REPLACE_WORDS);
  yield* by.put64(0, vaWord(op.va));
  if (op.new !== null) yield* by.put64(gnt.REPLACE_NEW, vaWord(op.new));
  yield* by.put(gnt.REPLACE_HANDLE, handle(m, op));
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_unmap_and_replace, by.pointer(0), 1);
  return { rc, status: signed16(yield* by.get(gnt.REPLACE_STATUS)) };
}

/** One side of a copy. */
interface CopySide {
  readonly ref: number | undefined;
  readonly f: string | undefined;
  readonly dom: string;
  readonly offset: number;
}

function* putSide(m: TapeMachine, by: TapeGuest, base: number, s: CopySide): Steps<void> {
  const what = s.ref !== undefined ? fromInteger(m.gref(s.dom, by, s.ref)) : m.symbols.mfnWord(s.f ?? 'bad');
  yield* by.put64(base, what);
  yield* by.put(base + gnt.COPY_PTR_WHERE, domidOf(s.dom) | (s.offset << 16));
  yield* by.put(base + gnt.COPY_PTR_WHERE + 1, 0);
}

export function* doGrantCopy(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_copy'>): Steps<Answer> {
  const source = { ref: op.sref, f: op.sf, dom: op.sdom, offset: op.soff ?? 0 };
  const dest = { ref: op.dref, f: op.df, dom: op.ddom, offset: op.doff ?? 0 };
  yield* putSide(m, by, gnt.COPY_SOURCE, source);
  yield* putSide(m, by, gnt.COPY_DEST, dest);
  const implied =
    (op.sref === undefined ? 0 : gnt.GNTCOPY_source_gref) | (op.dref === undefined ? 0 : gnt.GNTCOPY_dest_gref);
  yield* by.put(gnt.COPY_LEN, op.len | ((op.flags ?? implied) << 16));
  yield* by.put(gnt.COPY_STATUS, 0);
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_copy, by.pointer(0), 1);
  return { rc, status: signed16(yield* by.get(gnt.COPY_STATUS)) };
}

export function* doGrantTransfer(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_transfer'>): Steps<Answer> {
  yield* by.clear(0, gnt.TRANSFER_WORDS);
  yield* by.put64(0, m.symbols.mfnWord(op.f));
  yield* by.put(gnt.TRANSFER_DOM, domidOf(op.dom));
  yield* by.put(gnt.TRANSFER_REF, m.gref(op.dom, by, op.ref));
  const rc = yield* by.call(HYPERVISOR_grant_table_op, gnt.GNTTABOP_transfer, by.pointer(0), 1);
  return { rc, status: signed16(yield* by.get(gnt.TRANSFER_STATUS)) };
}

/** The words of an entry: four of version 2, of which version 1 has the first two. */
function entryWords(m: TapeMachine, op: OpOf<'gnt_write'>): readonly [number, number, number, number] {
  const header = op.flags | (domidOf(op.gdom) << 16);
  const mfn = op.f === null ? ZERO64 : m.symbols.mfnWord(op.f);
  if (op.v !== 2) return [header, op.f === 'bad' || m.symbols.mfn(op.f ?? '') < 0 ? BAD_V1 : mfn.lo, 0, 0];
  if (op.tdom !== undefined) return [header, domidOf(op.tdom), m.grefOf(op.tdom, op.tref ?? 0), 0];
  return [header, (op.poff ?? 0) | ((op.plen ?? 0) << 16), mfn.lo, mfn.hi];
}
/** `bad` where only 32 bits are left for it. */
const BAD_V1 = 0xfffff000 | 0;

/**
 * The owner stores an entry into its shared table: a running guest through its own mapping, d0 for everybody else
 * through a mapping of the frame. -1: the table cannot be mapped any more.
 */
export function* doGrantWrite(m: TapeMachine, by: TapeGuest, op: OpOf<'gnt_write'>): Steps<Answer> {
  const words = entryWords(m, op);
  const ref = m.grefOf(op.dom, op.ref);
  const version = m.grantVersion(op.dom);
  if (by.name === op.dom) {
    yield* storeEntry(by, OWN_GRANTS_VA, version, ref, words);
    return { rc: 0 };
  }
  const entry = { lo: (m.grantFrame(op.dom) << 12) | RW_ENTRY, hi: 0 };
  if ((yield* by.map(PROBE_VA, entry, domidOf(op.dom))) !== 0) return { rc: -1 };
  yield* storeEntry(by, PROBE_VA, version, ref, words);
  yield* by.unmap(PROBE_VA);
  return { rc: 0 };
}

/** In a version 1 table only the first eight bytes of an entry have a place, whatever its form. */
function* storeEntry(
  g: TapeGuest,
  table: Va,
  version: number,
  ref: number,
  words: readonly [number, number, number, number],
): Steps<void> {
  const size = version === 2 ? gnt.GRANT_V2_WORDS : gnt.GRANT_V1_WORDS;
  const at = (table + 4 * size * ref) as Va;
  if (version === 2) yield* g.store((at + 8) as Va, { lo: words[2], hi: words[3] });
  yield* g.store(at, { lo: words[0], hi: words[1] });
}
