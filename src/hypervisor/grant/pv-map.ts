/**
 * The page-table side of a grant map: putting an entry into one of the mapper's L1s, and taking it out again.
 *
 * Invariant: an L1 slot changes only under the page lock of a frame that is the caller's own and typed l1 now; what is
 * replaced has its references dropped after the lock is given back, by whoever caused the replacement.
 * Lock: the L1's page lock (rank pageLock); unmap holds the granter's active-entry lock around it.
 * Source: [X48], [X51]-[X56]; xen/arch/x86/pv/grant_table.c.
 */
import { canonicalVa, type Mfn } from '../../abi/frames.js';
import {
  GNTMAP_application_map,
  GNTMAP_contains_pte,
  GNTMAP_guest_avail0,
  GNTMAP_readonly,
  GNTST_general_error,
  GNTST_okay,
} from '../../abi/grant.js';
import {
  entryLo,
  entryMfn,
  PAGE_ACCESSED,
  PAGE_AVAIL,
  PAGE_DIRTY,
  PAGE_GNTTAB_HI,
  PAGE_NX_HI,
  PAGE_PRESENT,
  PAGE_RW,
  PAGE_USER,
} from '../../abi/pte.js';
import { PGT_l1_page_table, PGT_type_mask, typeInfo } from '../../machine/frame.js';
import { FRAMES } from '../../machine/layout.js';
import type { Cpu } from '../../sync/actor.js';
import { hi64, ld64, ldOnce, peek, poke } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { currentDomain, domidOf } from '../domain.js';
import { globals } from '../globals.js';
import { adjustL1Hi, adjustL1Lo, guestMapL1e, putPageFromL1e, slotMfn, updateEntry } from '../l1e.js';
import { getPage, pageLock, pageUnlock, putPage } from '../page.js';
import { stolenHi, stolenLo } from './scratch.js';

/** Low word of the entry a map with `flags` makes for `mfn`, before Xen adjusts it for the guest. */
const grantL1eLo = (mfn: Mfn, flags: number): number =>
  entryLo(
    mfn,
    PAGE_PRESENT |
      PAGE_ACCESSED |
      PAGE_DIRTY |
      ((flags & GNTMAP_application_map) !== 0 ? PAGE_USER : 0) |
      ((flags & GNTMAP_readonly) !== 0 ? 0 : PAGE_RW) |
      (((flags >>> GNTMAP_guest_avail0) << 9) & PAGE_AVAIL),
  );
const grantL1eHi = (): number => PAGE_NX_HI | (peek(globals.debug) !== 0 ? PAGE_GNTTAB_HI : 0);

/** Slot of the L1 entry that a map's address names: a machine address of it, or a virtual address; 0: none. */
function* grantSlot(cpu: Cpu, lo: number, hi: number, flags: number): Steps<number> {
  if ((flags & GNTMAP_contains_pte) === 0) return yield* guestMapL1e(cpu, canonicalVa(lo, hi));
  if ((lo & 7) !== 0 || hi !== 0 || lo >>> 12 >= FRAMES) return 0;
  return lo >>> 2;
}

/** Takes reference and page lock of the frame with `slot` in it, which must be an L1 of the caller's. */
function* lockSlot(cpu: Cpu, slot: number): Steps<boolean> {
  if (slot === 0) return false;
  const mfn = slotMfn(slot);
  if (!(yield* getPage(cpu, mfn, domidOf(currentDomain(cpu))))) return false;
  if (yield* pageLock(cpu, mfn)) {
    // The lock holds a type reference: the type stays while it is held.
    if (((yield* ldOnce(typeInfo(mfn))) & PGT_type_mask) === PGT_l1_page_table) return true;
    yield* pageUnlock(cpu, mfn);
  }
  yield* putPage(cpu, mfn);
  return false;
}

function* unlockSlot(cpu: Cpu, slot: number): Steps<void> {
  yield* pageUnlock(cpu, slotMfn(slot));
  yield* putPage(cpu, slotMfn(slot));
}

/**
 * Installs the entry for `mfn` at host_addr; the references it needs are the caller's. What was mapped there is
 * dropped without a flush ([X53]). okay or general_error.
 */
export function* createGrantHostMapping(
  cpu: Cpu,
  addrLo: number,
  addrHi: number,
  mfn: Mfn,
  flags: number,
): Steps<number> {
  const plainLo = grantL1eLo(mfn, flags);
  const plainHi = grantL1eHi();
  const slot = yield* grantSlot(cpu, addrLo, addrHi, flags);
  if (!(yield* lockSlot(cpu, slot))) return GNTST_general_error;
  const oldLo = yield* ld64(slot);
  const oldHi = hi64();
  yield* updateEntry(cpu, slot, oldLo, oldHi, adjustL1Lo(plainLo, plainHi), adjustL1Hi(plainLo, plainHi), false);
  yield* unlockSlot(cpu, slot);
  yield* putPageFromL1e(cpu, oldLo, oldHi, currentDomain(cpu));
  return GNTST_okay;
}

/** Empties the slot at a virtual address and keeps what was there in `stolen`; its references are the caller's. */
function* stealLinearAddress(cpu: Cpu, lo: number, hi: number): Steps<boolean> {
  const slot = yield* guestMapL1e(cpu, canonicalVa(lo, hi));
  if (!(yield* lockSlot(cpu, slot))) return false;
  const oldLo = yield* ld64(slot);
  const oldHi = hi64();
  yield* updateEntry(cpu, slot, oldLo, oldHi, 0, 0, false);
  yield* unlockSlot(cpu, slot);
  poke(stolenLo(cpu), oldLo);
  poke(stolenHi(cpu), oldHi);
  return true;
}

/**
 * Takes the grant's entry out of the slot at `addr`, or puts the one stolen from `new` in its place (`new` 0: none).
 * Only frame, present and RW of what is found are compared with the map ([X48]). The entry's references are the
 * caller's to drop. okay or general_error; an entry stolen in vain is dropped, its slot stays empty ([X56]).
 */
export function* replaceGrantHostMapping(
  cpu: Cpu,
  addrLo: number,
  addrHi: number,
  mfn: Mfn,
  newLo: number,
  newHi: number,
  flags: number,
): Steps<number> {
  const move = (newLo | newHi) !== 0;
  poke(stolenLo(cpu), 0);
  poke(stolenHi(cpu), 0);
  if (move) {
    if ((flags & GNTMAP_contains_pte) !== 0) return GNTST_general_error;
    if (!(yield* stealLinearAddress(cpu, newLo, newHi))) return GNTST_general_error;
  }
  const lo = peek(stolenLo(cpu));
  const hi = peek(stolenHi(cpu));
  if (yield* swapSlot(cpu, addrLo, addrHi, mfn, flags, lo, hi)) return GNTST_okay;
  if (move) yield* putPageFromL1e(cpu, lo, hi, currentDomain(cpu));
  return GNTST_general_error;
}

/** Writes (lo, hi) over the entry at `addr` if that maps `mfn` as the grant's flags say. */
function* swapSlot(
  cpu: Cpu,
  addrLo: number,
  addrHi: number,
  mfn: Mfn,
  flags: number,
  lo: number,
  hi: number,
): Steps<boolean> {
  const slot = yield* grantSlot(cpu, addrLo, addrHi, flags);
  if (!(yield* lockSlot(cpu, slot))) return false;
  const oldLo = yield* ld64(slot);
  const oldHi = hi64();
  const same = entryMfn(oldLo, oldHi, FRAMES) === mfn;
  const access = (oldLo ^ grantL1eLo(mfn, flags)) & (PAGE_PRESENT | PAGE_RW);
  const matches = same && access === 0;
  if (matches) yield* updateEntry(cpu, slot, oldLo, oldHi, lo, hi, false);
  yield* unlockSlot(cpu, slot);
  return matches;
}
