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
import type { Va } from '../abi/frames.js';
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
import { cas, ld64, ldOnce, peek, poke, stPlain, stPlain64 } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { refusedRead, refusedWrite, resolveRead, walkWrite, type StoreOp } from './access.js';
import { serveUrgent } from './border.js';
import type { GuestCpu, GuestHandlers } from './guest-cpu.js';

export const PAGE_BYTES = 4096;
/** An address' place in its page, of an aligned access of that many bits: tlbReads. */
const OFFSET_64 = 0xff8;
const OFFSET_32 = 0xffc;

/** Loads and stores of a GuestCpu; the rest is in memory-locked.ts. */
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

  *fetch(va: Va): Steps<void> {
    yield* resolveRead(this.self(), this.handlers, va, ACCESS_EXEC);
  }

  faulted(): boolean {
    const was = peek(vcpu.faulted(this.cpu)) !== 0;
    if (was) poke(vcpu.faulted(this.cpu), 0);
    return was;
  }

  *#loadSlow(va: Va): Steps<number> {
    if ((va & 7) !== 0) return yield* this.#loadBytes(va);
    const w = yield* this.#read(va);
    return w < 0 ? yield* this.zero() : yield* ld64(w);
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
    return yield* this.pair(lo, yield* this.load32((va + 4) as Va));
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
    const w = yield* this.write(va, { bytes: 4, lo: value, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
    if (w >= 0) yield* stPlain(w, value);
  }

  /** Not aligned: both ends must be writable before the first byte is written. */
  *#storeBytes(va: Va, bytes: number, lo: number, hi: number): Steps<void> {
    const op = { bytes, lo, hi, exchange: false, oldLo: 0, oldHi: 0 };
    for (const end of [va, (va + bytes - 1) as Va]) if ((yield* this.write(end, op)) < 0) return;
    for (let i = 0; i < bytes; i++) yield* this.store8((va + i) as Va, (i < 4 ? lo : hi) >>> ((i & 3) << 3));
  }

  /** One or two bytes within a word, without disturbing the others. */
  *#storePart(va: Va, bytes: number, value: number): Steps<void> {
    const w = yield* this.write(va, { bytes, lo: value, hi: 0, exchange: false, oldLo: 0, oldHi: 0 });
    if (w < 0) return;
    for (;;) {
      const word = yield* ldOnce(w);
      if ((yield* cas(w, word, withPart(word, bytes, va, value))) === word) return;
    }
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
    return w >= 0 ? w : yield* refusedRead(this.self(), this.handlers, va, ACCESS_READ);
  }

  protected *write(va: Va, op: StoreOp): Steps<number> {
    const w = yield* walkWrite(this.cpu, va);
    return w >= 0 ? w : yield* this.#refused(va, op);
  }

  *#refused(va: Va, op: StoreOp): Steps<number> {
    return yield* refusedWrite(this.self(), this.handlers, va, op);
  }

  /** A 64-bit answer that lies in no memory. */
  protected *pair(lo: number, hi: number): Steps<number> {
    poke(vcpu.scratch(this.cpu), lo);
    poke(vcpu.scratch(this.cpu) + 1, hi);
    return yield* ld64(vcpu.scratch(this.cpu));
  }

  protected *zero(): Steps<number> {
    return yield* this.pair(0, 0);
  }

  /** Handlers get the whole processor. */
  protected self(): GuestCpu {
    return this as unknown as GuestCpu;
  }
}

/** `word` with the `bytes` (1 or 2) at `va` replaced. */
export function withPart(word: number, bytes: number, va: Va, value: number): number {
  const shift = (va & 3) << 3;
  const mask = (bytes === 1 ? 0xff : 0xffff) << shift;
  return (word & ~mask) | ((value << shift) & mask);
}
