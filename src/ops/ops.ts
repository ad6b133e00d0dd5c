/**
 * The contract of the ops module: about fifteen one-liners over word addresses, in three implementations
 * (`wasm.ts`, `atomics.ts`, `plain.ts`) that `sync/primitives` stands on.
 *
 * Source: reference performance.md 1.2, 5 (ops module). Differs: `fill` writes zeroes only, the one fill Xen needs.
 */
export interface Ops {
  /** The word at `a`, sequentially consistent. */
  readonly ld: (a: number) => number;
  readonly st: (a: number, v: number) => void;
  /**
   * The same as `ld` to the processor; but an engine may take it for a word that nobody else changes, so not for a loop that
   * does nothing but look.
   */
  readonly ldPlain: (a: number) => number;
  /** Compare-exchange; answers the word that was there. */
  readonly cas: (a: number, old: number, next: number) => number;
  /** Fetch-and-op; each answers the old word. */
  readonly add: (a: number, v: number) => number;
  readonly and: (a: number, v: number) => number;
  readonly or: (a: number, v: number) => number;
  readonly xchg: (a: number, v: number) => number;
  /** Compare-exchange of the half word with index `h` (two a word); answers the old half word, unsigned. */
  readonly cas16: (h: number, old: number, next: number) => number;
  /** Untorn 64-bit read of an even address: answers the low word; `hi64()` answers the high word of the last one. */
  readonly ld64: (a: number) => number;
  readonly hi64: () => number;
  readonly st64: (a: number, lo: number, hi: number) => void;
  /**
   * Stores as a processor's plain ones: whole, and seen by others in order with this actor's other stores, but perhaps
   * later than its own next loads are made. Any read-modify-write of the actor's makes them seen.
   */
  readonly stPlain: (a: number, v: number) => void;
  readonly stPlain64: (a: number, lo: number, hi: number) => void;
  readonly xchg64: (a: number, lo: number, hi: number) => number;
  /** 64-bit compare-exchange; 1 when it took place. */
  readonly cas64: (a: number, oldLo: number, oldHi: number, lo: number, hi: number) => number;
  /** Zeroes `n` words. */
  readonly fill: (a: number, n: number) => void;
  readonly copy: (to: number, from: number, n: number) => void;
}
