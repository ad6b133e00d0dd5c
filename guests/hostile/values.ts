/**
 * Random values as a hostile guest passes them: mostly what makes sense, sometimes the edge of it, sometimes noise.
 *
 * Each `put…` writes one value into the call under preparation and draws from the stream of `h` only.
 */
import { DOMID_IO, DOMID_SELF, DOMID_XEN, makeVa, vaHi, vaLo, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryLo, PAGE_GNTTAB_HI, PAGE_GUEST_KERNEL_HI, PAGE_NX_HI } from '../../src/abi/pte.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { peekVa } from '../kernel/words.js';
import { below, chance, draw, hostile, isWild, MAX_PORTS, MAX_REFS, SLOT_WORDS, type Hostile } from './record.js';

/** Values at which implementations break. */
const EDGES: readonly number[] = [
  0, 1, 2, 7, 8, -1, -2, 0x7fffffff, -0x80000000, 0xffff, 0x10000, 0xfff, 0x1000, 0x7ff0, 255, 256, 511,
];
/** Slots that matter; the kernel's own, 272, only by chance, for without it the guest soon ends. */
const INDICES: readonly number[] = [0, 1, 2, 3, 255, 256, 258, 260, 271, 273, 510, 511];
/** Flags of entries: writable, read-only, not present, odd ones. */
const FLAGS: readonly number[] = [
  0x67, 0x67, 0x67, 0x25, 0x25, 0x65, 0x27, 0x07, 0x05, 0x63, 0x61, 0x03, 0, 0x1e7, 0x77, 0x6f, 0xe67,
];
const HIGHS: readonly number[] = [0, 0, 0, 0, PAGE_NX_HI, PAGE_GUEST_KERNEL_HI, 0x00200000, PAGE_GNTTAB_HI];

export function noise(h: Hostile): number {
  return chance(h, 128) ? (EDGES[below(h, EDGES.length)] as number) : draw(h) | 0;
}
export const oneOf = (h: Hostile, list: readonly number[]): number => list[below(h, list.length)] as number;

/** Begins a call: its number; registers and structures empty. */
export function begin(h: Hostile, op: number): void {
  poke(hostile.op(h), op);
  poke(hostile.named(h), 0);
  poke(hostile.structureWords(h), 0);
  for (let i = 0; i < 12; i++) poke(hostile.registers(h) + i, 0);
}
export function register(h: Hostile, i: number, lo: number, hi: number): void {
  poke(hostile.registers(h) + 2 * i, lo);
  poke(hostile.registers(h) + 2 * i + 1, hi);
}
/** Structure word `i`; one beyond the slot is nowhere. */
export function word(h: Hostile, i: number, v: number): void {
  if (i >= SLOT_WORDS) return;
  poke(hostile.structure(h) + i, v);
  if (i >= peek(hostile.structureWords(h))) poke(hostile.structureWords(h), i + 1);
}
export function wide(h: Hostile, i: number, lo: number, hi: number): void {
  word(h, i, lo);
  word(h, i + 1, hi);
}
/** A small number, or noise. */
export const small = (h: Hostile, n: number): number => (isWild(h) ? noise(h) : below(h, n));

const frameAt = (h: Hostile, i: number): Mfn => peek(hostile.frames(h) + i) as Mfn;
export const levelAt = (h: Hostile, i: number): number => peek(hostile.levels(h) + i);
/** Place of an own frame in the list. */
export const anyFrame = (h: Hostile): number => below(h, peek(hostile.nFrames(h)));
/** Place of an own frame that likes to be a table of `level`, if a few looks find one. */
export function frameOfLevel(h: Hostile, level: number): number {
  let i = anyFrame(h);
  for (let looks = 0; looks < 12 && levelAt(h, i) !== level; looks++) i = anyFrame(h);
  return i;
}
export { frameAt };

/** A frame number: an own one of the level, at times any own one, another's, or noise with its high word in `frameHi`. */
export function mfn(h: Hostile, level: number): number {
  if (isWild(h)) return below(h, 4) === 0 ? noise(h) : below(h, 1024);
  const r = below(h, 64);
  if (r === 0) return peek(hostile.homeL4(h));
  if (r === 1) return peek(hostile.windowL1(h));
  if (r < 6 && peek(hostile.nForeign(h)) > 0) {
    const i = below(h, peek(hostile.nForeign(h)));
    if (i < peek(hostile.nGiven(h))) poke(hostile.named(h), 1);
    return peek(hostile.foreign(h) + i);
  }
  return frameAt(h, r < 10 ? anyFrame(h) : frameOfLevel(h, level));
}
/** A frame that came lately, so that perhaps nothing maps it yet. */
export function freshFrame(h: Hostile): number {
  if (isWild(h)) return noise(h);
  return frameAt(h, Math.max(0, peek(hostile.nFrames(h)) - 1 - below(h, 8)));
}
/** High word of a frame number as a 64-bit value. */
export const frameHi = (h: Hostile): number => (isWild(h) ? noise(h) : 0);

/** Puts an entry for a table of `level` at words `i`, `i`+1. */
export function entry(h: Hostile, i: number, level: number): void {
  if (isWild(h) && chance(h, 64)) {
    wide(h, i, noise(h), noise(h));
    return;
  }
  const own = below(h, 16) === 0;
  const target = mfn(h, own ? level : Math.max(0, level - 1));
  const hi = level <= 1 ? oneOf(h, HIGHS) : 0;
  wide(h, i, entryLo(target as Mfn, oneOf(h, FLAGS)), isWild(h) ? noise(h) : hi);
}
/** An index into a table, rather one of few, so that several steps meet. */
export const index = (h: Hostile): number => (chance(h, 200) ? oneOf(h, INDICES) : below(h, 512));

/** A page of the window, at times another place. */
export function pageVa(h: Hostile): Va {
  if (isWild(h)) return wildVa(h);
  return (peekVa(hostile.windowVa(h)) + 4096 * below(h, peek(hostile.windowPages(h)))) as Va;
}
/** An address anywhere: own pages, Xen's area, the linear map, beyond the canonical, unaligned. */
export function wildVa(h: Hostile): Va {
  switch (below(h, 6)) {
    case 0:
      return makeVa(chance(h, 32) ? 272 : oneOf(h, INDICES), index(h), index(h), index(h), below(h, 4096));
    case 1:
      return (peekVa(hostile.windowVa(h)) + below(h, 4096 * peek(hostile.windowPages(h)))) as Va;
    case 2:
      return makeVa(258, oneOf(h, INDICES), 0, below(h, 4), 8 * below(h, 512));
    case 3:
      return (peekVa(hostile.areaVa(h)) + 4 * below(h, 1024 * peek(hostile.areaPages(h)))) as Va;
    case 4:
      return (peekVa(hostile.argsVa(h)) + 8192 - 4 * below(h, 64)) as Va;
    default:
      return below(h, 4096) as Va;
  }
}
export function vaRegister(h: Hostile, i: number, va: Va): void {
  register(h, i, vaLo(va), vaHi(va));
}
export function vaWords(h: Hostile, i: number, va: Va): void {
  wide(h, i, vaLo(va), vaHi(va));
}

/** A domain id as arguments name it. */
export function domid(h: Hostile): number {
  if (isWild(h)) return noise(h) & 0xffff;
  const r = below(h, 16);
  if (r < 8) return DOMID_SELF;
  if (r === 8) return peek(hostile.domid(h));
  if (r === 9) return oneOf(h, [DOMID_IO, DOMID_XEN, 0x7ff4]);
  return otherDomain(h);
}
/** One of the domains it has heard of. */
export function otherDomain(h: Hostile): number {
  const n = peek(hostile.nDomains(h));
  if (n === 0 || isWild(h)) return noise(h) & 0xffff;
  return noted(h, peek(hostile.domains(h) + below(h, n)));
}
/** `domid`, noted if it is a normal guest's. */
export function noted(h: Hostile, domid: number): number {
  if (isNormal(h, domid)) poke(hostile.named(h), 1);
  return domid;
}
export const isNormal = (h: Hostile, domid: number): boolean =>
  domid < 32 && (peek(hostile.normal(h)) & (1 << domid)) !== 0;

/** Address of a grant of another's that it has read of, or 0. */
export function knownRef(h: Hostile): number {
  const n = Math.min(peek(hostile.nRefs(h)), MAX_REFS);
  return n === 0 || !chance(h, 110) ? 0 : hostile.refs(h) + 2 * below(h, n);
}
/** A grant reference: few, beyond the reserved ones, so that granters and mappers meet. */
export const gref = (h: Hostile): number =>
  isWild(h) ? noise(h) : below(h, 32) === 0 ? below(h, 8) : 8 + below(h, 10);
export function port(h: Hostile): number {
  const n = Math.min(peek(hostile.nPorts(h)), MAX_PORTS);
  return n === 0 || isWild(h) ? noise(h) : chance(h, 200) ? peek(hostile.ports(h) + below(h, n)) : below(h, 32);
}
