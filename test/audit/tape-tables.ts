/**
 * The page tables of a tape's machine as a reader of the tape sees them: which frames are L1s is taken from the recorded
 * types, where an address leads from the words in memory. Nothing of the audit, nothing of the hypervisor's bookkeeping.
 */
import { l1Index, l2Index, l3Index, l4Index, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryMfn, PAGE_PRESENT, PAGE_RW } from '../../src/abi/pte.js';
import type { ProbeState } from '../../src/lab/tape/compare.js';
import type { TapeMachine } from '../../src/lab/tape/tape-machine.js';
import { FRAMES } from '../../src/machine/layout.js';
import { peek } from '../../src/sync/primitives.js';

/** What an L1 entry maps. */
export interface Leaf {
  readonly mfn: Mfn;
  readonly rw: boolean;
}

export function leafAt(slot: number): Leaf | undefined {
  const lo = peek(slot);
  const mfn = entryMfn(lo, peek(slot + 1), FRAMES);
  return (lo & PAGE_PRESENT) === 0 || mfn < 0 ? undefined : { mfn, rw: (lo & PAGE_RW) !== 0 };
}

/** Address of the L1 entry that maps `va` below `root`; 0: none. */
export function slotOf(root: Mfn, va: Va): number {
  let table = root;
  for (const index of [l4Index(va), l3Index(va), l2Index(va)]) {
    const next = leafAt(mfnWord(table) + 2 * index);
    if (next === undefined) return 0;
    table = next.mfn;
  }
  return mfnWord(table) + 2 * l1Index(va);
}

/** Who has typed which frame as L1, as recorded: owner by frame. */
export function l1Owners(m: TapeMachine, types: ProbeState['types']): Map<Mfn, string> {
  const out = new Map<Mfn, string>();
  for (const [name, type] of types) {
    const [owner = '', level = ''] = (type ?? '').split(':');
    const mfn = m.symbols.mfn(name) as Mfn;
    if (level.startsWith('L1') && mfn >= 0) out.set(mfn, owner);
  }
  return out;
}

/** Owner of a frame as recorded; undefined for one that the tape does not know, null for nobody's. */
export function recordedOwner(m: TapeMachine, types: ProbeState['types'], mfn: Mfn): string | null | undefined {
  const name = m.symbols.nameOf(mfn);
  if (name === undefined) return undefined;
  return types.get(name)?.split(':')[0] ?? null;
}

/** The entries of all recorded L1s that map one of `mfns`. */
export function leavesOf(l1s: ReadonlyMap<Mfn, string>): { owner: string; slot: number; leaf: Leaf }[] {
  const out: { owner: string; slot: number; leaf: Leaf }[] = [];
  for (const [table, owner] of l1s) {
    for (let i = 0; i < 512; i++) {
      const slot = mfnWord(table) + 2 * i;
      const leaf = leafAt(slot);
      if (leaf !== undefined) out.push({ owner, slot, leaf });
    }
  }
  return out;
}
