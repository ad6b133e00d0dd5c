/**
 * Guest memory accesses: TLB hit inline, everything else in `access.ts`.
 *
 * Invariant: a hit looks at the own request word first, so a flush, pause or death asked for is honoured before the access.
 * Lock: none. Data words are racy by nature: every access is a ONCE access; stores are as ordered as the processor's own.
 * Source: DESIGN decisions 5, 6; reference performance.md 2.1, 2.2 (hit path and slow path apart, small functions).
 *
 * `| 0` after a slow path tells the engine that its answer is a 32-bit number, as the fast path's is: else it boxes both. For
 * the same reason the two fields that every access reads are numbers from the start.
 */
import { PAGE_WORDS, type Va } from '../abi/frames.js';
import { PFEC_page_present } from '../abi/trap.js';
import { vcpu } from '../machine/cpu-record.js';
import { tlbOf } from '../machine/layout.js';
import {
  ACCESS_EXEC,
  ACCESS_READ,
  ACCESS_WRITE,
  tlbFill,
  tlbInit,
  tlbMiss,
  tlbReads,
  tlbWord,
  tlbWrites,
  translate,
} from '../machine/tlb.js';
import { actor, cpuIndex, type Cpu } from '../sync/actor.js';
import {
  cas,
  cas64,
  copy,
  fill,
  hi64,
  ld64,
  ldOnce,
  peek,
  poke,
  stPlain,
  stPlain64,
  touch,
  xchg64,
} from '../sync/primitives.js';
import { POINT_ONCE, POINT_READ } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import {
  DIFFERENT,
  EMULATED,
  GIVEN_UP,
  refusedRead,
  refusedWrite,
  resolveRead,
  walkWrite,
  type StoreOp,
} from './access.js';
import { serveUrgent } from './border.js';
import type { GuestCpu, GuestHandlers } from './guest-cpu.js';

const PAGE_BYTES = 4096;
/** An address' place in its page, of an aligned access of that many bits: tlbReads. */
const OFFSET_64 = 0xff8;
const OFFSET_32 = 0xffc;
const COPIED = POINT_READ | POINT_ONCE;

/** The memory half of a GuestCpu. */
export abstract class GuestMemory {
  readonly cpu: Cpu = 0 as Cpu;
  protected readonly handlers: GuestHandlers;
  protected readonly request: number;
  readonly #tlb: number = 0;

  constructor(cpu: Cpu, handlers: GuestHandlers) {
    this.cpu = cpu;
    this.handlers = handlers;
    this.request = actor.request(cpu);
    this.#tlb = tlbOf(cpuIndex(cpu));
    tlbInit(cpu);
  }

  *load(va: Va): Steps<number> {
    const offset = va & OFFSET_64;
    if (peek(actor.request(this.cpu)) !== 0 || !tlbReads(this.cpu, this.#tlb, va, offset)) {
      return (yield* this.#loadSlow(va)) | 0;
    }
    return yield* ld64(tlbWord(this.#tlb, va, offset));
  }

  *load32(va: Va): Steps<number> {
    const offset = va & OFFSET_32;
    if (peek(actor.request(this.cpu)) !== 0 || !tlbReads(this.cpu, this.#tlb, va, offset)) {
      return (yield* this.#load32Slow(va)) | 0;
    }
    return yield* ldOnce(tlbWord(this.#tlb, va, offset));
  }

  *load16(va: Va): Steps<number> {
    if ((va & 1) !== 0) return (yield* this.load8(va)) | ((yield* this.load8((va + 1) as Va)) << 8);
    return ((yield* this.load32((va - (va & 2)) as Va)) >>> ((va & 2) << 3)) & 0xffff;
  }

  *load8(va: Va): Steps<number> {
    return ((yield* this.load32((va - (va & 3)) as Va)) >>> ((va & 3) << 3)) & 0xff;
  }

  *store(va: Va, lo: number, hi: number): Steps<void> {
    const offset = va & OFFSET_64;
    if (peek(actor.request(this.cpu)) !== 0 || !tlbWrites(this.cpu, this.#tlb, va, offset)) {
      return yield* this.#storeSlow(va, lo, hi);
    }
    yield* stPlain64(tlbWord(this.#tlb, va, offset), lo, hi);
  }

  *store32(va: Va, value: number): Steps<void> {
    const offset = va & OFFSET_32;
    if (peek(actor.request(this.cpu)) !== 0 || !tlbWrites(this.cpu, this.#tlb, va, offset)) {
      return yield* this.#store32Slow(va, value);
    }
    yield* stPlain(tlbWord(this.#tlb, va, offset), value);
  }

  *store16(va: Va, value: number): Steps<void> {
    if ((va & 1) !== 0) return yield* this.#storeBytes(va, 2, value, 0);
    yield* this.#storePart(va, 2, value);
  }

  *store8(va: Va, value: number): Steps<void> {
    yield* this.#storePart(va, 1, value);
  }

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
      if (w === GIVEN_UP) return yield* this.#zero();
      if (w === EMULATED) return yield* this.#pair(oldLo, oldHi);
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
      const source = yield* resolveRead(this.#self(), this.handlers, from, ACCESS_READ);
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
      const w = yield* resolveRead(this.#self(), this.handlers, at, ACCESS_READ);
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
      const w = yield* this.#write(at, op);
      if (w === GIVEN_UP) return false;
      const count = w < 0 ? 1 : Math.min(n - done, wordsLeft(at));
      if (w >= 0) yield* copy(w, from + done, count);
      done += count;
    }
    return true;
  }

  *fetch(va: Va): Steps<void> {
    yield* resolveRead(this.#self(), this.handlers, va, ACCESS_EXEC);
  }

  faulted(): boolean {
    const was = peek(vcpu.faulted(this.cpu)) !== 0;
    if (was) poke(vcpu.faulted(this.cpu), 0);
    return was;
  }

  *#loadSlow(va: Va): Steps<number> {
    if ((va & 7) !== 0) return yield* this.#loadBytes(va);
    const w = yield* this.#read(va);
    return w < 0 ? yield* this.#zero() : yield* ld64(w);
  }

  *#load32Slow(va: Va): Steps<number> {
    if ((va & 3) !== 0) {
      return (yield* this.load16(va)) | ((yield* this.load16((va + 2) as Va)) << 16);
    }
    const w = yield* this.#read(va);
    return w < 0 ? 0 : yield* ldOnce(w);
  }

  /** Not aligned: eight bytes, not indivisible. */
  *#loadBytes(va: Va): Steps<number> {
    const lo = yield* this.load32(va);
    return yield* this.#pair(lo, yield* this.load32((va + 4) as Va));
  }

  *#storeSlow(va: Va, lo: number, hi: number): Steps<void> {
    if ((va & 7) !== 0) return yield* this.#storeBytes(va, 8, lo, hi);
    let w = peek(this.request) === 0 ? tlbFill(this.cpu, this.#tlb, va, ACCESS_WRITE) : -1;
    if (w < 0) w = (yield* this.#storeLong(va, lo, hi)) | 0;
    if (w >= 0) yield* stPlain64(w, lo, hi);
  }

  *#storeLong(va: Va, lo: number, hi: number): Steps<number> {
    const quiet = peek(this.request) === 0;
    const w = quiet ? yield* tlbMiss(this.cpu, this.#tlb, va, ACCESS_WRITE) : yield* walkWrite(this.cpu, va);
    return w >= 0 ? w : yield* this.#refused(va, { bytes: 8, lo, hi, exchange: false, oldLo: 0, oldHi: 0 });
  }

  *#store32Slow(va: Va, value: number): Steps<void> {
    if ((va & 3) !== 0) return yield* this.#storeBytes(va, 4, value, 0);
    const w = yield* this.#write(va, { bytes: 4, lo: value, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
    if (w >= 0) yield* stPlain(w, value);
  }

  /** Not aligned: both ends must be writable before the first byte is written. */
  *#storeBytes(va: Va, bytes: number, lo: number, hi: number): Steps<void> {
    const op = { bytes, lo, hi, exchange: false, oldLo: 0, oldHi: 0 };
    for (const end of [va, (va + bytes - 1) as Va]) if ((yield* this.#write(end, op)) < 0) return;
    for (let i = 0; i < bytes; i++) yield* this.store8((va + i) as Va, (i < 4 ? lo : hi) >>> ((i & 3) << 3));
  }

  /** One or two bytes within a word, without disturbing the others. */
  *#storePart(va: Va, bytes: number, value: number): Steps<void> {
    const w = yield* this.#write(va, { bytes, lo: value, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
    if (w < 0) return;
    for (;;) {
      const word = yield* ldOnce(w);
      if ((yield* cas(w, word, withPart(word, bytes, va, value))) === word) return;
    }
  }

  /** Address for a locked access; one that is not aligned is refused (alignment check). */
  *#locked(va: Va, op: StoreOp): Steps<number> {
    if ((va & (op.bytes - 1)) === 0) return yield* this.#write(va, op);
    poke(vcpu.faulted(this.cpu), 1);
    return GIVEN_UP;
  }

  *#page(va: Va): Steps<number> {
    return yield* this.#write(va, { bytes: PAGE_BYTES, lo: 0, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
  }

  /** A read that missed: the walk at once when nothing is asked of the vCPU. */
  *#read(va: Va): Steps<number> {
    const w = peek(this.request) === 0 ? tlbFill(this.cpu, this.#tlb, va, ACCESS_READ) : -1;
    return w >= 0 ? w : (yield* this.#readLong(va)) | 0;
  }

  *#readLong(va: Va): Steps<number> {
    const quiet = peek(this.request) === 0;
    if (!quiet) yield* serveUrgent(this.cpu);
    const w = quiet
      ? yield* tlbMiss(this.cpu, this.#tlb, va, ACCESS_READ)
      : yield* translate(this.cpu, va, ACCESS_READ);
    return w >= 0 ? w : yield* refusedRead(this.#self(), this.handlers, va, ACCESS_READ);
  }

  *#write(va: Va, op: StoreOp): Steps<number> {
    const w = yield* walkWrite(this.cpu, va);
    return w >= 0 ? w : yield* this.#refused(va, op);
  }

  *#refused(va: Va, op: StoreOp): Steps<number> {
    return yield* refusedWrite(this.#self(), this.handlers, va, op);
  }

  /** A 64-bit answer that lies in no memory. */
  *#pair(lo: number, hi: number): Steps<number> {
    poke(vcpu.scratch(this.cpu), lo);
    poke(vcpu.scratch(this.cpu) + 1, hi);
    return yield* ld64(vcpu.scratch(this.cpu));
  }

  *#zero(): Steps<number> {
    return yield* this.#pair(0, 0);
  }

  /** Handlers get the whole processor. */
  #self(): GuestCpu {
    return this as unknown as GuestCpu;
  }
}

const emulatedExchange = (w: number): number => (w === EMULATED ? 1 : w === DIFFERENT ? 0 : 0);
const wordsLeft = (va: Va): number => (PAGE_BYTES - (va & (PAGE_BYTES - 1))) >> 2;

/** `word` with the `bytes` (1 or 2) at `va` replaced. */
function withPart(word: number, bytes: number, va: Va, value: number): number {
  const shift = (va & 3) << 3;
  const mask = (bytes === 1 ? 0xff : 0xffff) << shift;
  return (word & ~mask) | ((value << shift) & mask);
}
