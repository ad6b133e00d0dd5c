/**
 * L1 entries: the references they hold, and how one is changed.
 *
 * Invariant: a present entry of a validated L1 holds a reference on its frame and, if writable, a `writable` type
 * reference ([X4], [X5]); new references are taken before the store, old ones dropped after it ([X26]).
 * Lock: modL1Entry under the table's page lock (or the validate lock).
 * Source: get_page_from_l1e, put_page_from_l1e, mod_l1_entry, map_guest_l1e; [X18], [X23]-[X27], [X61].
 */
import { EACCES, EBUSY, EINVAL, EPERM } from '../abi/errno.js';
import { DOMID_IO, l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn, type Va } from '../abi/frames.js';
import {
  entryMfn,
  FRAME_HI,
  PAGE_ACCESSED,
  PAGE_AVAIL,
  PAGE_AVAIL_HIGH_HI,
  PAGE_DIRTY,
  PAGE_GLOBAL,
  PAGE_GNTTAB_HI,
  PAGE_GUEST_KERNEL_HI,
  PAGE_NX_HI,
  PAGE_PAT,
  PAGE_PCD,
  PAGE_PRESENT,
  PAGE_PSE,
  PAGE_PWT,
  PAGE_RW,
  PAGE_USER,
  ROOT_XEN_FIRST,
  ROOT_XEN_LAST,
} from '../abi/pte.js';
import { MMU_PT_UPDATE_PRESERVE_AD } from '../abi/mmu.js';
import { HypervisorBug } from '../abi/errors.js';
import { flushClock } from '../machine/clock.js';
import { vcpu } from '../machine/cpu-record.js';
import { countInfo, ownerOf, ownerWord, PGC_xen_heap, PGT_writable_page } from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { cas64, hi64, ld, ld64, ldOnce, peek, poke, st64 } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { currentDomain, DOM_IO, domain, domainMayTarget, domidOf, ownerDomain, type DomainRef } from './domain.js';
import { globals } from './globals.js';
import { getPageAny, getPageType, putPage, putPageAndType } from './page.js';
import { isTwinned, TWIN, twin } from './twins.js';

export const PAGE_CACHE_ATTRS = PAGE_PAT | PAGE_PCD | PAGE_PWT;

/** Bits that may change without looking at references again ([X18]). */
const FAST_LO = PAGE_AVAIL | PAGE_GLOBAL | PAGE_DIRTY | PAGE_ACCESSED | PAGE_USER;
const FAST_HI = PAGE_NX_HI | PAGE_AVAIL_HIGH_HI;
/** Do the two entries agree in everything that matters for references, permissions and caching? */
export const similar = (lo1: number, hi1: number, lo2: number, hi2: number): boolean =>
  ((lo1 ^ lo2) & ~FAST_LO) === 0 && ((hi1 ^ hi2) & ~FAST_HI) === 0;

/** Flags a guest of `d` may not put into a present L1 entry: none is set. */
export function l1FlagsAllowed(lo: number, hi: number, d: DomainRef): boolean {
  if (peek(globals.debug) !== 0 && (hi & PAGE_GNTTAB_HI) !== 0) return false; // by reference [X24]
  return (lo & PAGE_CACHE_ATTRS) === 0 || d === DOM_IO || peek(domain.devices(d)) !== 0;
}
/** The same for L2 to L4: no cache bits, PSE or G. */
export const upperFlagsAllowed = (lo: number): boolean => (lo & (PAGE_PSE | PAGE_PCD | PAGE_PWT | PAGE_GLOBAL)) === 0;

/** adjust_guest_l1e: the low and the high word a present entry is stored with ([X25]). */
export function adjustL1Lo(lo: number, hi: number): number {
  if ((lo & PAGE_PRESENT) === 0) return lo;
  if ((lo & PAGE_USER) === 0 || (hi & PAGE_GUEST_KERNEL_HI) !== 0) return lo | PAGE_USER;
  return lo | PAGE_GLOBAL;
}
export const adjustL1Hi = (lo: number, hi: number): number =>
  (lo & (PAGE_PRESENT | PAGE_USER)) === PAGE_PRESENT ? hi | PAGE_GUEST_KERNEL_HI : hi;

/**
 * Takes the references of a present entry. 0; more than 0: it names I/O memory, holds nothing, and these low flags are to
 * be flipped before it is stored; -EINVAL bad flags; -EPERM or -EINVAL not RAM; -EBUSY not `pgOwner`'s or no writable
 * type; -EACCES cache attributes on Xen's page. `l1Owner`: the table's domain.
 */
export function* getPageFromL1e(
  cpu: Cpu,
  lo: number,
  hi: number,
  l1Owner: DomainRef,
  pgOwner: DomainRef,
): Steps<number> {
  if (!l1FlagsAllowed(lo, hi, l1Owner)) return -EINVAL;
  const mfn = entryMfn(lo, hi, FRAMES);
  if (mfn < 0) return noFrame(lo, hi);
  const got = yield* getPageAny(mfn);
  const owner = got ? ownerOf(yield* ld(ownerWord(mfn))) : -1;
  if (owner === DOMID_IO) {
    yield* putPage(cpu, mfn);
    return ioMemory(cpu, lo, l1Owner, pgOwner);
  }
  if (owner !== domidOf(pgOwner) && !(yield* mayMapForeign(got, owner, l1Owner, pgOwner))) {
    if (got) yield* putPage(cpu, mfn);
    return -EBUSY;
  }
  if ((lo & PAGE_RW) !== 0 && (yield* getPageType(cpu, mfn, PGT_writable_page)) !== 0) {
    yield* putPage(cpu, mfn);
    return -EBUSY;
  }
  if ((lo & PAGE_CACHE_ATTRS) !== 0 && (peek(countInfo(mfn)) & PGC_xen_heap) !== 0) {
    yield* dropRefs(cpu, mfn, lo);
    return -EACCES;
  }
  return 0;
}

/** Nobody has a right to frames beyond the machine; the all-ones number is merely invalid. */
const noFrame = (lo: number, hi: number): number =>
  lo >>> 12 === 0xfffff && (hi & FRAME_HI) === FRAME_HI ? -EINVAL : -EPERM;

/** I/O memory is for domains that own devices, and never cached: the flags to flip, or -EPERM. */
function ioMemory(cpu: Cpu, lo: number, l1Owner: DomainRef, pgOwner: DomainRef): number {
  const asker = pgOwner === DOM_IO ? currentDomain(cpu) : pgOwner;
  if (asker === 0 || peek(domain.devices(asker)) === 0 || peek(domain.devices(l1Owner)) === 0) return -EPERM;
  switch (lo & PAGE_CACHE_ATTRS) {
    case 0:
      return PAGE_PWT | PAGE_PCD;
    case PAGE_PWT:
    case PAGE_PWT | PAGE_PAT:
      return PAGE_PCD | (lo & PAGE_PAT);
    default:
      return 0;
  }
}

/** The frame is not `pgOwner`'s: a privileged FD that is not the table's owner passes its right on. */
function* mayMapForeign(got: boolean, owner: number, l1Owner: DomainRef, pgOwner: DomainRef): Steps<boolean> {
  if (!got || pgOwner === l1Owner) return false;
  const real = yield* ownerDomain(owner);
  return real !== 0 && domainMayTarget(pgOwner, real);
}

function* dropRefs(cpu: Cpu, mfn: Mfn, lo: number): Steps<void> {
  if ((lo & PAGE_RW) !== 0) yield* putPageAndType(cpu, mfn);
  else yield* putPage(cpu, mfn);
}

/** Drops the references of an entry that was in a validated L1 of `l1Owner`. */
export function* putPageFromL1e(cpu: Cpu, lo: number, hi: number, l1Owner: DomainRef): Steps<void> {
  if ((lo & PAGE_PRESENT) === 0) return;
  const mfn = entryMfn(lo, hi, FRAMES);
  if (mfn < 0 || ownerOf(peek(ownerWord(mfn))) === DOMID_IO) return;
  if (peek(globals.debug) !== 0 && (hi & PAGE_GNTTAB_HI) !== 0) yield* implicitUnmap(cpu, l1Owner);
  yield* dropRefs(cpu, mfn, lo);
}

/** Debug hypervisor: a grant entry dies without its unmap, the current vCPU gets #GP(0) (by reference [X61]). */
function* implicitUnmap(cpu: Cpu, l1Owner: DomainRef): Steps<void> {
  const shuttingDown = yield* ldOnce(domain.shuttingDown(l1Owner)); // raced on purpose: only a diagnosis
  const dying = yield* ldOnce(domain.dying(l1Owner)); // raced on purpose: only a diagnosis
  if (shuttingDown === 0 && dying === 0) poke(vcpu.pendingGp(cpu), 1);
}

/**
 * Stores an entry over `oldLo, oldHi`: plainly, or (preserving A/D) by compare-exchange with their old state kept; the
 * processor may set A and D meanwhile, nobody else may touch the entry ([X27]).
 */
export function* updateEntry(
  cpu: Cpu,
  slot: number,
  oldLo: number,
  oldHi: number,
  lo: number,
  hi: number,
  preserveAd: boolean,
): Steps<void> {
  poke(vcpu.nPteWrites(cpu), peek(vcpu.nPteWrites(cpu)) + 1);
  if (!preserveAd) {
    yield* st64(slot, lo, hi);
    return;
  }
  let seenLo = oldLo;
  for (;;) {
    const next = lo | (seenLo & (PAGE_ACCESSED | PAGE_DIRTY));
    if ((yield* cas64(slot, seenLo, oldHi, next, hi)) === 1) return;
    const now = yield* ld64(slot);
    if (((now ^ seenLo) & ~(PAGE_ACCESSED | PAGE_DIRTY)) !== 0 || hi64() !== oldHi) {
      throw new HypervisorBug('an entry changed under its page lock');
    }
    seenLo = now;
  }
}

/** Sets the L1 entry at address `slot`; `command` is MMU_*. 0, or the errno of getPageFromL1e. */
export function* modL1Entry(
  cpu: Cpu,
  slot: number,
  newLo: number,
  newHi: number,
  command: number,
  ptOwner: DomainRef,
  pgOwner: DomainRef,
): Steps<number> {
  const oldLo = yield* ld64(slot);
  const oldHi = hi64();
  const preserve = command === MMU_PT_UPDATE_PRESERVE_AD;
  let lo = newLo;
  let hi = newHi;
  if ((lo & PAGE_PRESENT) !== 0) {
    if (!l1FlagsAllowed(lo, hi, ptOwner)) return -EINVAL;
    hi = adjustL1Hi(newLo, newHi);
    lo = adjustL1Lo(newLo, newHi);
    if (similar(oldLo, oldHi, lo, hi)) {
      yield* updateEntry(cpu, slot, oldLo, oldHi, lo, hi, preserve);
      return 0;
    }
    const rc = yield* getPageFromL1e(cpu, lo, hi, ptOwner, pgOwner);
    if (rc < 0) return rc;
    lo ^= rc;
  }
  const odd = isTwinned();
  const early = odd && twin(TWIN['put-before-write']);
  if (early) yield* putPageFromL1e(cpu, oldLo, oldHi, ptOwner);
  if (odd && twin(TWIN['xsa-241'])) poke(vcpu.twinStamp(cpu), yield* flushClock());
  yield* updateEntry(cpu, slot, oldLo, oldHi, lo, hi, preserve);
  if (!early) yield* putPageFromL1e(cpu, oldLo, oldHi, ptOwner);
  return 0;
}

/** Xen's own slots of an L4. */
export const isGuestL4Slot = (slot: number): boolean => slot < ROOT_XEN_FIRST || slot > ROOT_XEN_LAST;

/**
 * Address of the L1 slot that maps an address in the current base's tables, 0 when there is none. What it lies in need not
 * be an L1 any more: take the page lock and look.
 */
export function* guestMapL1e(cpu: Cpu, va: Va): Steps<number> {
  if (va < 0 || !isGuestL4Slot(l4Index(va))) return 0;
  const root = peek(vcpu.cr3(cpu)) - 1;
  if (root < 0) return 0;
  const l3 = yield* below(root as Mfn, l4Index(va));
  if (l3 < 0) return 0;
  const l2 = yield* below(l3, l3Index(va));
  if (l2 < 0) return 0;
  const l1 = yield* below(l2, l2Index(va));
  return l1 < 0 ? 0 : mfnWord(l1) + 2 * l1Index(va);
}

/** The table an upper entry names; INVALID_MFN when it is not present, a superpage or beyond memory. */
function* below(table: Mfn, index: number): Steps<Mfn> {
  const lo = yield* ld64(mfnWord(table) + 2 * index);
  if ((lo & (PAGE_PRESENT | PAGE_PSE)) !== PAGE_PRESENT) return -1 as Mfn;
  return entryMfn(lo, hi64(), FRAMES);
}

/** The frame that holds the entry at `slot`. */
export const slotMfn = (slot: number): Mfn => (slot >>> 10) as Mfn;
