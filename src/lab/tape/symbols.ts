/**
 * What the names of one tape stand for on this machine, and what this machine's numbers are called in the tape.
 *
 * Invariant: a name keeps its frame when the frame is freed; a frame that got a second name is called by the newer one.
 * Source: tapes FORMAT.md (symbols in inputs, values in results).
 */
import { DOMID_INVALID, DOMID_IO, DOMID_SELF, DOMID_XEN } from '../../abi/frames.js';
import { FRAME_HI } from '../../abi/pte.js';
import { HypervisorBug } from '../../abi/errors.js';
import { add64, fromInteger, hex64, parseHex, type TapeValue, type Word64 } from './value.js';

/** A domain id that no tape uses. */
export const UNUSED_DOMID = 1000;
/** MFN of `bad`, and of a name that has no frame: beyond any machine. */
const BAD: Word64 = parseHex('0xfffff0000');
/** VA 0 of the tapes. */
export const SCRATCH_BASE: Word64 = parseHex('0xffffa00000000000');

const RESERVED: Readonly<Record<string, number>> = {
  self: DOMID_SELF,
  io: DOMID_IO,
  xen: DOMID_XEN,
  inv: DOMID_INVALID,
  none: UNUSED_DOMID,
};
const reservedNames = new Map(Object.entries(RESERVED).map(([name, id]) => [id, name]));

/** A value as a tape writes results. */
export type Encoded = string | { readonly f: string; readonly fl: string };

export class Symbols {
  readonly #mfns = new Map<string, number>();
  readonly #names = new Map<number, string>();

  /** Gives `name` the frame `mfn`. */
  define(name: string, mfn: number): void {
    if (mfn <= 0)
      throw new HypervisorBug(`tape frame ${name} got mfn ${String(mfn)}: frame 0 cannot be told from none`);
    this.#mfns.set(name, mfn);
    this.#names.set(mfn, name);
  }

  /** The frame of `name`, or -1. */
  mfn(name: string): number {
    return this.#mfns.get(name) ?? -1;
  }

  /** How many names have or had a frame. */
  get size(): number {
    return this.#mfns.size;
  }

  nameOf(mfn: number): string | undefined {
    return this.#names.get(mfn);
  }

  /** Every name that has or had a frame, with its number. */
  frames(): IterableIterator<[string, number]> {
    return this.#mfns.entries();
  }

  /** The machine frame number as a hypercall takes it. */
  mfnWord(name: string): Word64 {
    const mfn = this.mfn(name);
    return mfn < 0 ? BAD : fromInteger(mfn);
  }

  /** (MFN(name) << 12) + offset. */
  machineAddress(name: string, offset: number): Word64 {
    const m = this.mfnWord(name);
    return { lo: (m.lo << 12) | offset, hi: (m.hi << 12) | (m.lo >>> 20) };
  }

  value(v: TapeValue): Word64 {
    if (typeof v === 'string') return parseHex(v);
    const at = this.machineAddress(v.f, 0);
    const flags = parseHex(v.fl);
    return { lo: at.lo | flags.lo, hi: at.hi | flags.hi };
  }

  /** An entry or word as results show it. */
  encode(lo: number, hi: number): Encoded {
    const frameLo = (lo >>> 12) | ((hi & 0xfff) << 20);
    const frameHi = (hi & FRAME_HI) >>> 12;
    if (frameLo === 0 && frameHi === 0) return hex64(lo, hi);
    const fl = hex64(lo & 0xfff, hi & ~FRAME_HI);
    return { f: this.frameName(frameLo, frameHi) ?? 'other', fl };
  }

  /** Name of a frame number of up to 64 bits. */
  frameName(lo: number, hi: number): string | undefined {
    if (hi === BAD.hi && lo === BAD.lo) return 'bad';
    return hi === 0 ? this.#names.get(lo >>> 0) : undefined;
  }
}

/** Domain id that a name stands for in a hypercall. */
export function domidOf(name: string): number {
  const id = RESERVED[name];
  if (id !== undefined) return id;
  return Number(name.slice(1));
}

export const domainName = (domid: number): string => reservedNames.get(domid) ?? `d${String(domid)}`;

/** A virtual address: a page number in the scratch area, or a raw address; plus an offset. */
export function vaWord(va: number | string, offset = 0): Word64 {
  if (typeof va === 'string') return add64(parseHex(va), fromInteger(offset));
  return add64(add64(SCRATCH_BASE, fromInteger(va * 4096)), fromInteger(offset));
}
