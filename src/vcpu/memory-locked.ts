/**
 * Guest accesses that are more than a load or a store: locked ones, whole pages, runs of words.
 *
 * Invariant: as in memory.ts; a locked access is one atomic of the shared memory, or the emulator's compare-exchange ([X67]).
 * Lock: none. Source: DESIGN decisions 5, 6; xen/arch/x86/pv/ro-page-fault.c (ptwr_emulated_cmpxchg).
 */
import { PAGE_WORDS, type Va } from '../abi/frames.js';
import { PFEC_page_present } from '../abi/trap.js';
import { vcpu } from '../machine/cpu-record.js';
import { ACCESS_READ } from '../machine/tlb.js';
import { cas, cas64, copy, fill, hi64, ldOnce, peek, poke, touch, xchg64 } from '../sync/primitives.js';
import { POINT_ONCE, POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { DIFFERENT, EMULATED, GIVEN_UP, resolveRead, walkWrite, type StoreOp } from './access.js';
import { GuestMemory, PAGE_BYTES, withPart } from './memory.js';

const COPIED = POINT_READ | POINT_ONCE;

/** The memory half of a GuestCpu, whole. */
export abstract class GuestLocked extends GuestMemory {
  *cmpxchg(va: Va, oldLo: number, oldHi: number, lo: number, hi: number): Steps<number> {
    const w = yield* this.#locked(va, { bytes: 8, lo, hi, exchange: true, oldLo, oldHi });
    return w >= 0 ? yield* cas64(w, oldLo, oldHi, lo, hi) : emulatedExchange(w);
  }

  *cmpxchg32(va: Va, old: number, next: number): Steps<number> {
    const w = yield* this.#locked(va, { bytes: 4, lo: next, hi: 0, exchange: true, oldLo: old, oldHi: 0 });
    if (w < 0) return emulatedExchange(w);
    return (yield* cas(w, old, next)) === (old | 0) ? 1 : 0;
  }

  *cmpxchg16(va: Va, old: number, next: number): Steps<number> {
    const w = yield* this.#locked(va, { bytes: 2, lo: next, hi: 0, exchange: true, oldLo: old, oldHi: 0 });
    if (w < 0) return emulatedExchange(w);
    const shift = (va & 2) << 3;
    for (;;) {
      const word = yield* ldOnce(w);
      if (((word >>> shift) & 0xffff) !== (old & 0xffff)) return 0;
      if ((yield* cas(w, word, withPart(word, 2, va, next))) === word) return 1;
    }
  }

  *xchg(va: Va, lo: number, hi: number): Steps<number> {
    let oldLo = 0;
    let oldHi = 0;
    const direct = (va & 7) === 0 ? yield* walkWrite(this.cpu, va) : 0;
    if (direct > 0) return yield* xchg64(direct, lo, hi);
    if (direct < 0 && (peek(vcpu.errorCode(this.cpu)) & PFEC_page_present) !== 0) {
      // The emulator compares: learn what is there and offer that, so that one trap does ([X67]).
      oldLo = yield* this.load(va);
      oldHi = hi64();
    }
    for (;;) {
      const w = yield* this.#locked(va, { bytes: 8, lo, hi, exchange: true, oldLo, oldHi });
      if (w >= 0) return yield* xchg64(w, lo, hi);
      if (w === GIVEN_UP) return yield* this.zero();
      if (w === EMULATED) return yield* this.pair(oldLo, oldHi);
      // Another store came between.
      oldLo = yield* this.load(va);
      oldHi = hi64();
    }
  }

  *clearPage(va: Va): Steps<void> {
    const w = yield* this.#page(va);
    if (w >= 0) yield* fill(w, PAGE_WORDS);
  }

  *copyPage(to: Va, from: Va): Steps<void> {
    for (;;) {
      const source = yield* resolveRead(this.self(), this.handlers, from, ACCESS_READ);
      const generation = peek(vcpu.tlbGeneration(this.cpu));
      const target = source < 0 ? source : yield* this.#page(to);
      if (target < 0) return;
      if (generation !== peek(vcpu.tlbGeneration(this.cpu))) continue; // flushed in between: the source may have moved
      yield* touch(source, PAGE_WORDS, COPIED);
      return yield* copy(target, source, PAGE_WORDS);
    }
  }

  *loadWords(to: number, va: Va, n: number): Steps<boolean> {
    for (let done = 0; done < n;) {
      const at = (va + 4 * done) as Va;
      const w = yield* resolveRead(this.self(), this.handlers, at, ACCESS_READ);
      if (w < 0) return false;
      const count = Math.min(n - done, wordsLeft(at));
      yield* touch(w, count, COPIED);
      yield* copy(to + done, w, count);
      done += count;
    }
    return true;
  }

  *storeWords(va: Va, from: number, n: number): Steps<boolean> {
    for (let done = 0; done < n;) {
      const at = (va + 4 * done) as Va;
      const op = { bytes: 4, lo: peek(from + done), hi: 0, exchange: false, oldLo: 0, oldHi: 0 };
      const w = yield* this.write(at, op);
      if (w === GIVEN_UP) return false;
      const count = w < 0 ? 1 : Math.min(n - done, wordsLeft(at));
      if (w >= 0) yield* copy(w, from + done, count);
      done += count;
    }
    return true;
  }

  /** Address for a locked access; one that is not aligned is refused (alignment check). */
  *#locked(va: Va, op: StoreOp): Steps<number> {
    if ((va & (op.bytes - 1)) === 0) return yield* this.write(va, op);
    poke(vcpu.faulted(this.cpu), 1);
    return GIVEN_UP;
  }

  *#page(va: Va): Steps<number> {
    return yield* this.write(va, { bytes: PAGE_BYTES, lo: 0, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
  }
}

const emulatedExchange = (w: number): number => (w === EMULATED ? 1 : w === DIFFERENT ? 0 : 0);
const wordsLeft = (va: Va): number => (PAGE_BYTES - (va & (PAGE_BYTES - 1))) >> 2;
