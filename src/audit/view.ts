/**
 * Plain reads of frames and tables of a still machine, as the checks see them.
 *
 * Invariant: no vCPU runs; every word is read with `peek`, nothing is written. A `Frame` has no count: what the ledger
 * works on cannot name one; `refCount` and `typeCount` are for the other side of the comparison.
 * Source: src/machine/frame.ts; reference xen-pv-memory.md, section 1.
 */
import { DOMID_IO, DOMID_XEN, mfnWord, type Mfn } from '../abi/frames.js';
import { ENTRIES, entryMfn, PAGE_PRESENT, PAGE_RW, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../abi/pte.js';
import * as f from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import { peek } from '../sync/primitives.js';

export interface Frame {
  readonly mfn: Mfn;
  readonly free: boolean;
  readonly allocated: boolean;
  readonly xenHeap: boolean;
  readonly locked: boolean;
  /** 0 none, 1 to 4 tables, 5 seg_desc, 6 shared, 7 writable. */
  readonly type: number;
  readonly pinned: boolean;
  readonly validated: boolean;
  readonly partial: boolean;
  readonly owner: number;
}

export const TYPE_NONE = 0;
export const TYPE_L4 = 4;
export const TYPE_SEG_DESC = 5;
export const TYPE_WRITABLE = 7;

export const inMachine = (mfn: number): boolean => mfn >= 0 && mfn < FRAMES;
export const isFree = (mfn: Mfn): boolean => (peek(f.countInfo(mfn)) & f.PGC_state) === f.PGC_state_free;
export const ownerOfFrame = (mfn: Mfn): number => f.ownerOf(peek(f.ownerWord(mfn)));
/** A free frame's type word links the heap's list. */
export const typeOfFrame = (mfn: Mfn): number => (isFree(mfn) ? TYPE_NONE : f.typeLevel(peek(f.typeInfo(mfn))));

/** Counts of a frame: for comparing with the ledger, never for making it. */
export const refCount = (mfn: Mfn): number => peek(f.countInfo(mfn)) & f.PGC_count_mask;
export const typeCount = (mfn: Mfn): number => (isFree(mfn) ? 0 : peek(f.typeInfo(mfn)) & f.PGT_count_mask);
/** Linear links of a table in use: > 0 it holds some, < 0 it is linked to ([X17]). */
export const linearCountOf = (mfn: Mfn): number => f.linearCount(peek(f.stampWord(mfn)));

export function frameOf(mfn: Mfn): Frame {
  const c = peek(f.countInfo(mfn));
  const free = (c & f.PGC_state) === f.PGC_state_free;
  const t = free ? 0 : peek(f.typeInfo(mfn));
  return {
    mfn,
    free,
    allocated: (c & f.PGC_allocated) !== 0,
    xenHeap: (c & f.PGC_xen_heap) !== 0,
    locked: (c & f.PGT_locked) !== 0,
    type: f.typeLevel(t),
    pinned: (t & f.PGT_pinned) !== 0,
    validated: (t & f.PGT_validated) !== 0,
    partial: (t & f.PGT_partial) !== 0,
    owner: ownerOfFrame(mfn),
  };
}

export const isTable = (t: Frame): boolean => t.type >= 1 && t.type <= TYPE_L4;
/** A table whose entries, or some of them, hold references ([X8], [X9], [X14]). */
export const holdsEntries = (t: Frame): boolean => isTable(t) && (t.validated || t.partial);

export interface Entry {
  readonly index: number;
  readonly lo: number;
  readonly hi: number;
  readonly rw: boolean;
  /** INVALID_MFN for a frame beyond the machine. */
  readonly mfn: Mfn;
}

export function entryAt(table: Mfn, index: number): Entry {
  const lo = peek(mfnWord(table) + 2 * index);
  const hi = peek(mfnWord(table) + 2 * index + 1);
  return { index, lo, hi, rw: (lo & PAGE_RW) !== 0, mfn: entryMfn(lo, hi, FRAMES) };
}

/** How many entries of the table, from the first on, are validated: all, or as far as an interruption let it come. */
const validatedEntries = (t: Frame): number => (t.validated ? ENTRIES : f.nrValidated(peek(f.stampWord(t.mfn))));

/** The present entries that hold references: an L4's slots of Xen hold none. */
export function eachEntry(t: Frame, visit: (e: Entry) => void): void {
  const base = mfnWord(t.mfn);
  const end = validatedEntries(t);
  for (let i = 0; i < end; i++) {
    if ((peek(base + 2 * i) & PAGE_PRESENT) === 0) continue;
    if (t.type === TYPE_L4 && i >= ROOT_XEN_FIRST && i <= ROOT_XEN_LAST) continue;
    visit(entryAt(t.mfn, i));
  }
}

/** The entry of a partial table that was interrupted inside: it holds a reference, its type is the partial page's own. */
export function halfDoneEntry(t: Frame): Entry | undefined {
  if (!t.partial || (peek(f.stampWord(t.mfn)) & f.PARTIAL_SET) === 0) return undefined;
  return entryAt(t.mfn, validatedEntries(t));
}

export const typeLabel = (type: number): string => f.typeName(f.levelType(type));
export const frameLabel = (mfn: number): string => `mfn 0x${mfn.toString(16)}`;
export function ownerLabel(owner: number): string {
  if (owner === f.NO_OWNER) return 'nobody';
  if (owner === DOMID_XEN) return 'xen';
  return owner === DOMID_IO ? 'io' : `d${String(owner)}`;
}

export const entryLabel = (t: Frame, e: Entry): string =>
  `${ownerLabel(t.owner)} L${String(t.type)} ${frameLabel(t.mfn)}[${String(e.index)}] ${e.rw ? 'rw' : 'ro'}`;
