/**
 * Entries of L2 to L4 tables: the table below each of them, and how one is changed.
 *
 * Invariant: a present entry of a validated table holds a general and a type reference on the table it names (type one
 * level lower, or its own level for a linear link; none for a link to itself).
 * Lock: modUpperEntry under the table's page lock.
 * Source: get_page_and_type_from_mfn, get_page_from_l2e … mod_l4_entry, xen/arch/x86/mm.c; [X8], [X15], [X17], [X23].
 */
import { EINVAL, ERESTART } from '../abi/errno.js';
import type { Domid, Mfn } from '../abi/frames.js';
import { entryMfn, PAGE_ACCESSED, PAGE_PRESENT, PAGE_USER } from '../abi/pte.js';
import { vcpu } from '../machine/cpu-record.js';
import { levelType } from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { hi64, ld64, peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { domidOf, type DomainRef } from './domain.js';
import { isGuestL4Slot, similar, updateEntry, upperFlagsAllowed } from './l1e.js';
import { getLinearTable } from './linear.js';
import {
  dropLinearCounts,
  getPage,
  getPageTypeFlags,
  PTF_defer,
  PTF_partial_set,
  PTF_preemptible,
  PTF_retain_ref_on_restart,
  putPage,
  putPageTypeFlags,
} from './page.js';

/**
 * Makes `mfn` the table whose teardown this vCPU must finish before it does anything else ([X15]).
 *
 * There is one such table per vCPU. When an L2 fails below slot 0 of an L3, and that below another slot of an L4, the L4
 * takes the place of the L2, which then stays partial with its references for good: a leak of Xen's, recorded in tape
 * main-pagetable-313 (operation 56: the L1 below the lost L2 stays typed). It is counted, so that audits can tell.
 */
export function setOldGuestTable(cpu: Cpu, mfn: Mfn, partial: boolean): void {
  poke(vcpu.oldGuestTable(cpu), mfn + 1);
  poke(vcpu.oldGuestTablePartial(cpu), partial ? 1 : 0);
}
export const isOldGuestTable = (cpu: Cpu, mfn: Mfn): boolean => peek(vcpu.oldGuestTable(cpu)) === mfn + 1;

/** adjust_guest_l2e … l4e: what is or-ed into a present entry ([X25]). */
export const adjustUpper = (level: number, lo: number): number =>
  (lo & PAGE_PRESENT) === 0 ? lo : lo | (level === 4 ? PAGE_USER | PAGE_ACCESSED : PAGE_USER);

/**
 * Reference and type of a table. 0 or -errno; what is kept on failure: with PTF_partial_set the reference the entry came
 * with; on -ERESTART the new one if PTF_retain_ref_on_restart asks; that of a table that became old_guest_table.
 */
export function* getPageAndTypeFromMfn(cpu: Cpu, mfn: Mfn, type: number, domid: Domid, flags: number): Steps<number> {
  const partialSet = (flags & PTF_partial_set) !== 0;
  if (!partialSet && (mfn < 0 || !(yield* getPage(cpu, mfn, domid)))) return -EINVAL;
  const rc = yield* getPageTypeFlags(cpu, mfn, type, (flags & PTF_preemptible) !== 0);
  if (rc === 0 || partialSet || isOldGuestTable(cpu, mfn)) return rc;
  if (rc === -ERESTART && (flags & PTF_retain_ref_on_restart) !== 0) return rc;
  yield* putPage(cpu, mfn);
  return rc;
}

/** Takes the references of a present entry of table `table` at `level`. 0 or -errno. */
export function* getPageFromUpper(
  cpu: Cpu,
  level: number,
  lo: number,
  hi: number,
  table: Mfn,
  d: DomainRef,
  flags: number,
): Steps<number> {
  if (!upperFlagsAllowed(lo)) return -EINVAL;
  const target = entryMfn(lo, hi, FRAMES);
  const how = level === 2 ? flags : flags | PTF_preemptible;
  const rc = yield* getPageAndTypeFromMfn(cpu, target, levelType(level - 1), domidOf(d), how);
  if (rc !== -EINVAL || target < 0) return rc;
  return (yield* getLinearTable(cpu, lo, target, table, levelType(level), domidOf(d))) ? 0 : rc;
}

/**
 * Drops the references of an entry that was in a validated table. 1: it had none; 0; -EINTR; -ERESTART.
 * With PTF_defer the table becomes this vCPU's old_guest_table instead; if it was a linear link, its counts go now, while
 * the page lock keeps the parent's type.
 */
export function* putPageFromUpper(cpu: Cpu, lo: number, hi: number, table: Mfn, flags: number): Steps<number> {
  if ((lo & PAGE_PRESENT) === 0) return 1;
  const target = entryMfn(lo, hi, FRAMES);
  if (target === table) return 1;
  if ((flags & PTF_defer) !== 0) {
    yield* dropLinearCounts(target, table);
    setOldGuestTable(cpu, target, false);
    return 0;
  }
  const rc = yield* putPageTypeFlags(cpu, target, flags | PTF_preemptible, table);
  if (rc === 0) yield* putPage(cpu, target);
  return rc;
}

/** Sets the entry at address `slot` (index `index`) of a validated `level` table of `d`. 0 or -errno, -EINTR, -ERESTART. */
export function* modUpperEntry(
  cpu: Cpu,
  level: number,
  slot: number,
  newLo: number,
  newHi: number,
  table: Mfn,
  preserveAd: boolean,
  d: DomainRef,
): Steps<number> {
  if (level === 4 && !isGuestL4Slot((slot & 1023) >> 1)) return -EINVAL;
  const oldLo = yield* ld64(slot);
  const oldHi = hi64();
  let lo = newLo;
  if ((lo & PAGE_PRESENT) !== 0) {
    if (!upperFlagsAllowed(lo)) return -EINVAL;
    lo = adjustUpper(level, lo);
    if (similar(oldLo, oldHi, lo, newHi)) {
      yield* updateEntry(cpu, slot, oldLo, oldHi, lo, newHi, preserveAd);
      return 0;
    }
    const rc = yield* getPageFromUpper(cpu, level, lo, newHi, table, d, 0);
    if (rc !== 0) return rc;
  }
  yield* updateEntry(cpu, slot, oldLo, oldHi, lo, newHi, preserveAd);
  yield* putPageFromUpper(cpu, oldLo, oldHi, table, PTF_defer);
  return 0;
}
