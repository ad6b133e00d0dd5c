/**
 * Writable page tables: a store through a read-only mapping of an L1 in use, emulated as a checked entry update.
 *
 * Invariant: only for domains with vm_assist writable_pagetables, and the control domain; only an L1 of the caller's own,
 * typed now; the store is naturally aligned and at most 8 bytes; a refused
 * entry leaves everything as it was, and the guest gets its page fault.
 * Lock: the L1's page lock.
 * Source: pv_ro_page_fault, ptwr_do_page_fault, ptwr_emulated_update, xen/arch/x86/pv/ro-page-fault.c; [X36].
 */
import { VMASST_TYPE_writable_pagetables } from '../abi/mmu.js';
import { mfnWord, PAGE_SIZE, type Mfn, type Va } from '../abi/frames.js';
import { entryMfn, PAGE_PRESENT, PAGE_RW } from '../abi/pte.js';
import { vcpu } from '../machine/cpu-record.js';
import { PGT_l1_page_table, PGT_type_mask, typeInfo } from '../machine/frame.js';
import { FRAMES } from '../machine/layout.js';
import type { Cpu } from '../sync/actor.js';
import { cas64, hi64, ld64, ldOnce, peek, poke, st64 } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { EVENT } from '../trace/events.js';
import { trace } from '../trace/ring.js';
import { currentDomain, domain, domidOf, type DomainRef } from './domain.js';
import { adjustL1Hi, adjustL1Lo, getPageFromL1e, guestMapL1e, putPageFromL1e } from './l1e.js';
import { getPage, pageLock, pageUnlock, putPage } from './page.js';

/** Not a case for emulation, or refused: the guest gets the fault. */
export const PTWR_UNHANDLED = 0;
/** The store took place. */
export const PTWR_DONE = 1;
/** The comparison of a compare-exchange failed; nothing was stored. */
export const PTWR_DIFFERENT = 2;

/**
 * The kernel's store of `bytes` (1, 2, 4, 8) at `va` was refused by a present entry: emulates it if it goes to an L1.
 * `exchange`: a compare-exchange against `oldLo`, `oldHi`.
 */
export function* ptwrEmulate(
  cpu: Cpu,
  va: Va,
  bytes: number,
  lo: number,
  hi: number,
  exchange: boolean,
  oldLo: number,
  oldHi: number,
): Steps<number> {
  const d = currentDomain(cpu);
  if (d === 0 || !wantsEmulation(d) || va % bytes !== 0) return PTWR_UNHANDLED;
  const mfn = yield* readOnlyFrame(cpu, va);
  if (mfn < 0 || !(yield* getPage(cpu, mfn, domidOf(d)))) return PTWR_UNHANDLED;
  let rc = PTWR_UNHANDLED;
  if (yield* pageLock(cpu, mfn)) {
    const type = yield* ldOnce(typeInfo(mfn)); // counts race, the type is held by the lock
    if ((type & PGT_type_mask) === PGT_l1_page_table) {
      rc = yield* emulate(cpu, d, mfn, va % PAGE_SIZE, bytes, lo, hi, exchange, oldLo, oldHi);
    }
    yield* pageUnlock(cpu, mfn);
  }
  yield* putPage(cpu, mfn);
  if (rc === PTWR_UNHANDLED) return rc;
  poke(vcpu.nEmulations(cpu), peek(vcpu.nEmulations(cpu)) + 1);
  trace(cpu, EVENT.ptwrEmulate, va | 0, mfn);
  return rc;
}

/** A guest must have asked for it (vm_assist); the hardware domain gets it anyway (do_page_fault looks for MMIO there). */
const wantsEmulation = (d: DomainRef): boolean =>
  (peek(domain.assist(d)) & (1 << VMASST_TYPE_writable_pagetables)) !== 0 || peek(domain.privileged(d)) !== 0;

/** The frame that a present read-only L1 entry maps at `va` in the current tables; negative: none. */
function* readOnlyFrame(cpu: Cpu, va: Va): Steps<Mfn> {
  const slot = yield* guestMapL1e(cpu, va);
  if (slot === 0) return -1 as Mfn;
  const lo = yield* ld64(slot);
  if ((lo & (PAGE_PRESENT | PAGE_RW)) !== PAGE_PRESENT) return -1 as Mfn;
  return entryMfn(lo, hi64(), FRAMES);
}

/** Bits of one half of an entry that a store of `bytes` at byte `offset` of the entry covers. */
const covered = (half: number, offset: number, bytes: number): number => {
  if (bytes === 8) return -1;
  if (offset >> 2 !== half) return 0;
  return bytes === 4 ? -1 : ((1 << (bytes * 8)) - 1) << ((offset & 3) * 8);
};
/** The half `full` with the covered bits replaced; a partial store's value comes in its low word. */
const merge = (full: number, value: number, mask: number, offset: number, bytes: number): number =>
  bytes === 8 ? value : (full & ~mask) | ((value << ((offset & 3) * 8)) & mask);

function* emulate(
  cpu: Cpu,
  d: DomainRef,
  mfn: Mfn,
  at: number,
  bytes: number,
  valueLo: number,
  valueHi: number,
  exchange: boolean,
  wantLo: number,
  wantHi: number,
): Steps<number> {
  const slot = mfnWord(mfn) + ((at & ~7) >> 2);
  const offset = at & 7;
  const maskLo = covered(0, offset, bytes);
  const maskHi = covered(1, offset, bytes);
  const fullLo = yield* ld64(slot);
  const fullHi = hi64();
  const newLo = merge(fullLo, valueLo, maskLo, offset, bytes);
  const newHi = merge(fullHi, bytes === 8 ? valueHi : valueLo, maskHi, offset, bytes);
  const rc = (newLo & PAGE_PRESENT) === 0 ? 0 : yield* getPageFromL1e(cpu, newLo, newHi, d, d);
  if (rc < 0) return PTWR_UNHANDLED;
  const lo = adjustL1Lo(newLo, newHi) ^ rc;
  const hi = adjustL1Hi(newLo, newHi);
  poke(vcpu.nPteWrites(cpu), peek(vcpu.nPteWrites(cpu)) + 1);
  if (!exchange) {
    const goneLo = yield* ld64(slot);
    const goneHi = hi64();
    yield* st64(slot, lo, hi);
    yield* putPageFromL1e(cpu, goneLo, goneHi, d);
    return PTWR_DONE;
  }
  const oldLo = merge(fullLo, wantLo, maskLo, offset, bytes);
  const oldHi = merge(fullHi, bytes === 8 ? wantHi : wantLo, maskHi, offset, bytes);
  const done = (yield* cas64(slot, oldLo, oldHi, lo, hi)) === 1;
  yield* putPageFromL1e(cpu, done ? oldLo : lo, done ? oldHi : hi, d);
  return done ? PTWR_DONE : PTWR_DIFFERENT;
}
