/**
 * Reading a guest's memory while its machine is still: pages by pfn, and what the direct map shows at one.
 *
 * Invariant: no vCPU runs; nothing is written. Lock: none.
 */
import { INVALID_MFN, l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn, type Pfn } from '../../src/abi/frames.js';
import { entryMfn, PAGE_PRESENT } from '../../src/abi/pte.js';
import { peek } from '../../src/sync/primitives.js';
import { image } from './domain-image.js';
import { directVa } from './layout.js';
import { P2M_FOREIGN, P2M_INVALID, p2mEntry } from './p2m.js';
import { kernel, type Kernel } from './records.js';

/** Word `n` of the page `pfn`; 0 when it has no frame. */
export function stillWord(k: Kernel, pfn: Pfn, n: number): number {
  const e = p2mEntry(k, pfn);
  return e === P2M_INVALID ? 0 : peek(mfnWord((e & ~P2M_FOREIGN) as Mfn) + n);
}

/** Both words of the direct map's entry for `pfn`: [0, 0] when there is none. */
export function directEntry(k: Kernel, pfn: Pfn): readonly [number, number] {
  const va = directVa(pfn);
  const frames = peek(kernel.frames(k));
  let table = (p2mEntry(k, image.l4) & ~P2M_FOREIGN) as Mfn;
  for (const i of [l4Index(va), l3Index(va), l2Index(va)]) {
    const lo = peek(mfnWord(table) + 2 * i);
    table = entryMfn(lo, peek(mfnWord(table) + 2 * i + 1), frames);
    if ((lo & PAGE_PRESENT) === 0 || table === INVALID_MFN) return [0, 0];
  }
  const at = mfnWord(table) + 2 * l1Index(va);
  return (peek(at) & PAGE_PRESENT) === 0 ? [0, 0] : [peek(at), peek(at + 1)];
}
