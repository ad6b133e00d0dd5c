/**
 * I1 and I13 of page tables after every step: what an entry in force names is referenced and of the type that it needs.
 *
 * New references are taken before the store and old ones dropped after it ([X26]); validation takes them before it says so
 * and devalidation says so before it drops them ([X8], [X9]): so at no step may an entry of a validated table, or of the
 * validated part of a partial one, name a frame without a reference, or one that somebody has as another type.
 * Source: reference xen-pv-memory.md, section 6; [X4], [X5], [X17].
 */
import { DOMID_IO, mfnWord, PAGE_WORDS, type Mfn } from '../../abi/frames.js';
import { ENTRIES, entryMfn, PAGE_PRESENT, PAGE_RW, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../../abi/pte.js';
import * as f from '../../machine/frame.js';
import { FRAMES } from '../../machine/layout.js';
import { peek } from '../../sync/primitives.js';
import { entryLabel, entryAt, frameLabel, frameOf, typeLabel } from '../view.js';
import { finding, type Finding } from './finding.js';
import { holdsRefs } from './frames.js';
import { foreignEntryFault } from './grants.js';

const L4 = 4;
const WRITABLE = 7;

/** How many entries of the table are in force, from the first on. */
export function entriesInForce(mfn: Mfn, typeWord: number): number {
  return (typeWord & f.PGT_validated) !== 0 ? ENTRIES : f.nrValidated(peek(f.stampWord(mfn)));
}

/** The frame that entry `i` of a table at `level` names and holds, or negative: none. */
function heldBy(table: Mfn, level: number, i: number): Mfn {
  const at = mfnWord(table) + 2 * i;
  const lo = peek(at);
  if ((lo & PAGE_PRESENT) === 0) return -1 as Mfn;
  if (level === L4 && i >= ROOT_XEN_FIRST && i <= ROOT_XEN_LAST) return -1 as Mfn;
  const mfn = entryMfn(lo, peek(at + 1), FRAMES);
  // A table above L1 that links to itself holds nothing by that; an L1 maps itself like any other frame.
  if (mfn < 0 || (mfn === table && level > 1) || f.ownerOf(peek(f.ownerWord(mfn))) === DOMID_IO) return -1 as Mfn;
  return mfn;
}

/** What is wrong with entry `i` of a table in force. */
export function entryFault(table: Mfn, level: number, i: number): Finding | undefined {
  const mfn = heldBy(table, level, i);
  if (mfn < 0) return undefined;
  const rw = (peek(mfnWord(table) + 2 * i) & PAGE_RW) !== 0;
  const c = peek(f.countInfo(mfn));
  if ((c & f.PGC_state) === f.PGC_state_free || (c & f.PGC_count_mask) === 0) {
    const where = entryLabel(frameOf(table), entryAt(table, i));
    return finding('I13', `${where} names ${frameLabel(mfn)}, which is free`, [where]);
  }
  const t = peek(f.typeInfo(mfn));
  if ((t & f.PGT_count_mask) !== 0 && !fits(level, rw, f.typeLevel(t))) {
    const where = entryLabel(frameOf(table), entryAt(table, i));
    return finding('I1', `${where} holds ${frameLabel(mfn)}, which is ${typeLabel(f.typeLevel(t))}`, [where]);
  }
  return level === 1 ? foreignEntryFault(table, i, mfn, rw) : undefined;
}

/** May a frame of type `has` be what such an entry holds? */
const fits = (level: number, rw: boolean, has: number): boolean =>
  level === 1 ? !rw || has === WRITABLE : has === level - 1 || has === level;

/** Every entry in force of one table. */
export function tableFault(table: Mfn): Finding | undefined {
  const t = peek(f.typeInfo(table));
  if ((peek(f.countInfo(table)) & f.PGC_state) === f.PGC_state_free || !holdsRefs(t)) return undefined;
  const level = f.typeLevel(t);
  const end = entriesInForce(table, t);
  const base = mfnWord(table);
  for (let i = 0; i < end; i++) {
    if ((peek(base + 2 * i) & PAGE_PRESENT) === 0) continue;
    const wrong = entryFault(table, level, i);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** What is wrong with the entry at `a`, which names `mfn`, if it is one in force. */
export function namingAt(a: number, mfn: Mfn): Finding | undefined {
  const table = Math.floor(a / PAGE_WORDS) as Mfn;
  const t = peek(f.typeInfo(table));
  if (!holdsRefs(t) || (peek(f.countInfo(table)) & f.PGC_state) === f.PGC_state_free) return undefined;
  const level = f.typeLevel(t);
  const i = (a - mfnWord(table)) >> 1;
  return i < entriesInForce(table, t) && heldBy(table, level, i) === mfn ? entryFault(table, level, i) : undefined;
}
