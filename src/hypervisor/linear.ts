/**
 * Linear tables: an upper table may link read-only to another validated table of its own level, one deep.
 *
 * Invariant: the linear count of a table in use is > 0 for links it holds, < 0 for links to it, never both ([X17]).
 * Lock: none; the count is the high half of the stamp word, changed by compare-exchange of the word.
 * Source: inc_linear_entries … get_l4_linear_pagetable, xen/arch/x86/mm.c; XSA-240, XSA-309.
 */
import { ERESTART } from '../abi/errno.js';
import { HypervisorBug } from '../abi/errors.js';
import type { Domid, Mfn } from '../abi/frames.js';
import { PAGE_RW } from '../abi/pte.js';
import {
  linearCount,
  LINEAR_ONE,
  ownerOf,
  ownerWord,
  PGT_count_mask,
  PGT_type_mask,
  PGT_validated,
  stampWord,
  typeInfo,
} from '../machine/frame.js';
import type { Cpu } from '../sync/actor.js';
import { cas, ld, ldOnce, peek } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { getPage, PTF_partial_set, PTF_preemptible, putPage, putPageTypeFlags } from './page.js';
import { TWIN, twin } from './twins.js';

const TOP = 0x7fff;
const NO_TABLE = -1 as Mfn;

/** Adds `by` (1 or -1) when the count then has that sign and does not wrap. */
function* linearInc(mfn: Mfn, by: number): Steps<boolean> {
  const a = stampWord(mfn);
  let y = peek(a);
  for (;;) {
    const x = y;
    const next = linearCount(x) + by;
    if ((next * by <= 0 && !twin(TWIN['xsa-240'])) || Math.abs(next) > TOP) {
      y = yield* ldOnce(a); // raced on purpose: others link and unlink
      if (y !== x) continue;
      return false;
    }
    y = yield* cas(a, x, (x + by * LINEAR_ONE) | 0);
    if (y === x) return true;
  }
}

/** Takes one off a count of sign `by`. */
function* linearDec(mfn: Mfn, by: number): Steps<void> {
  const a = stampWord(mfn);
  let y = peek(a);
  for (;;) {
    const x = y;
    y = yield* cas(a, x, (x - by * LINEAR_ONE) | 0);
    if (y !== x) continue;
    if (linearCount(x) * by <= 0) throw new HypervisorBug(`linear count of frame ${String(mfn)} lost its sign`);
    return;
  }
}

export function* decLinearEntries(mfn: Mfn): Steps<void> {
  yield* linearDec(mfn, 1);
}
export function* decLinearUses(mfn: Mfn): Steps<void> {
  yield* linearDec(mfn, -1);
}

/**
 * The entry `lo` in table `table` names `target`, which does not become a table one level lower: is it a linear link?
 * True: links to itself take nothing, links to another hold a reference, a type reference and both counts.
 */
export function* getLinearTable(
  cpu: Cpu,
  lo: number,
  target: Mfn,
  table: Mfn,
  type: number,
  domid: Domid,
): Steps<boolean> {
  if ((lo & PAGE_RW) !== 0) return false;
  if (target === table) return true;
  if (ownerOf(yield* ld(ownerWord(table))) !== domid) return false;
  if (!(yield* getPage(cpu, target, domid))) return false;
  if (yield* getValidated(target, type)) {
    if ((yield* mayLink(table, target)) && (yield* linearInc(table, 1))) {
      if (yield* linearInc(target, -1)) return true;
      yield* linearDec(table, 1);
    }
    yield* putTypeToEnd(cpu, target);
  }
  yield* putPage(cpu, target);
  return false;
}

/** The twin xsa-240 looks at both counts here, and changes them later whatever they are by then. */
function* mayLink(table: Mfn, target: Mfn): Steps<boolean> {
  if (!twin(TWIN['xsa-240'])) return true;
  const has = linearCount(yield* ldOnce(stampWord(table))); // raced: looked at too early
  return has >= 0 && linearCount(yield* ldOnce(stampWord(target))) <= 0; // raced: as above
}

/** Drops a type reference that may have become the last one meanwhile, interruptions or not: one table's entries at most. */
function* putTypeToEnd(cpu: Cpu, mfn: Mfn): Steps<void> {
  let flags = PTF_preemptible;
  for (;;) {
    const rc = yield* putPageTypeFlags(cpu, mfn, flags, NO_TABLE);
    if (rc === 0) break;
    if (rc === -ERESTART) flags |= PTF_partial_set;
  }
}

/** One more type reference if the frame is validated with that type right now. */
function* getValidated(mfn: Mfn, type: number): Steps<boolean> {
  const a = typeInfo(mfn);
  let y = peek(a);
  for (;;) {
    const x = y;
    if ((x & PGT_count_mask) === PGT_count_mask || (x & (PGT_type_mask | PGT_validated)) !== (type | PGT_validated)) {
      y = yield* ldOnce(a); // raced on purpose: as every look at a type word
      if (y !== x) continue;
      return false;
    }
    y = yield* cas(a, x, x + 1);
    if (y === x) return true;
  }
}
