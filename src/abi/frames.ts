/** Frame numbers and domain ids, branded so that mixing them does not compile. */

declare const brand: unique symbol;

/** Machine frame number, below the machine's frame count (so below 2^20). */
export type Mfn = number & { readonly [brand]: 'Mfn' };
/** A guest's pseudo-physical frame number. */
export type Pfn = number & { readonly [brand]: 'Pfn' };
/** Domain id, 15 bits. */
export type Domid = number & { readonly [brand]: 'Domid' };
/**
 * Virtual address, as the 48 bits that translate: bit 47 set means the upper canonical half. An exact double.
 */
export type Va = number & { readonly [brand]: 'Va' };

export const INVALID_MFN = -1 as Mfn;
export const DOMID_FIRST_RESERVED = 0x7ff0;
export const DOMID_SELF = 0x7ff0 as Domid;
export const DOMID_IO = 0x7ff1 as Domid;
export const DOMID_XEN = 0x7ff2 as Domid;
export const DOMID_INVALID = 0x7ff4 as Domid;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;
/** Words in a frame. */
export const PAGE_WORDS = 1024;

/** First word of a frame in the shared memory: machine memory starts at word 0. */
export const mfnWord = (mfn: Mfn): number => mfn * PAGE_WORDS;

const TWO32 = 4294967296;
const UPPER = 0xffff8000;

/** A 64-bit pointer as Va, or -1 when it is not canonical. */
export function canonicalVa(lo: number, hi: number): Va {
  const h = hi >>> 0;
  if (h >= UPPER) return ((h & 0xffff) * TWO32 + (lo >>> 0)) as Va;
  if (h < 0x8000) return (h * TWO32 + (lo >>> 0)) as Va;
  return -1 as Va;
}
/** The two words of a Va as the machine's registers hold it, sign extended. */
export const vaLo = (va: Va): number => va | 0;
export const vaHi = (va: Va): number => {
  const h = Math.floor(va / TWO32);
  return (h & 0x8000) !== 0 ? h | 0xffff0000 | 0 : h;
};
/** A Va from its index path and offset. */
export const makeVa = (l4: number, l3 = 0, l2 = 0, l1 = 0, offset = 0): Va =>
  ((((l4 * 512 + l3) * 512 + l2) * 512 + l1) * PAGE_SIZE + offset) as Va;

const L3_SPAN = 1 << 30;
/** va[47:30]: l4 index above, l3 index in the low nine bits. */
const top = (va: Va): number => (va / L3_SPAN) | 0;
export const l4Index = (va: Va): number => top(va) >> 9;
export const l3Index = (va: Va): number => top(va) & 511;
export const l2Index = (va: Va): number => (va >>> 21) & 511;
export const l1Index = (va: Va): number => (va >>> 12) & 511;
export const pageOffset = (va: Va): number => va & 4095;
