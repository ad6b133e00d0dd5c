/** A machine of 1 GiB, full of mapped frames, is audited in seconds. */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '1024';
});

import { mfnWord, type Domid, type Mfn } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { auditMachine } from '../../src/audit/index.js';
import { domain } from '../../src/hypervisor/domain.js';
import { globals } from '../../src/hypervisor/globals.js';
import * as fr from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { single } from '../hypervisor/machine.js';

const TABLES = 256;

/** Gives d0 a frame without touching its memory. */
function give(m: number, refs: number, type: number): void {
  const mfn = m as Mfn;
  poke(fr.ownerWord(mfn), fr.withOwner(0, 0 as Domid));
  poke(fr.countInfo(mfn), fr.PGC_allocated | refs);
  poke(fr.typeInfo(mfn), type);
  poke(fr.stampWord(mfn), 0);
}

/** All free frames become d0's: pinned L1s that map the frames after them, the rest mapped nowhere. */
function fillMachine(): { first: number; mapped: number } {
  const first = peek(globals.freeHead) - 1;
  const end = peek(globals.freeTail);
  const mapped = TABLES * 512;
  for (let m = first; m < end; m++) {
    const table = m < first + TABLES;
    const leaf = m < first + TABLES + mapped;
    const type = fr.PGT_l1_page_table | fr.PGT_pinned | fr.PGT_validated | 1;
    give(m, table || leaf ? 2 : 1, table ? type : leaf ? fr.PGT_writable_page | fr.PGT_validated | 1 : 0);
  }
  for (let i = 0; i < mapped; i++) {
    const at = mfnWord((first + (i >> 9)) as Mfn) + 2 * (i & 511);
    poke(at, entryLo((first + TABLES + i) as Mfn, 0x67));
    poke(at + 1, 0);
  }
  return { first, mapped };
}

test('a full machine of 1 GiB is audited whole, clean or with a count spoiled', { timeout: 120_000 }, () => {
  const d0 = single();
  const { first } = fillMachine();
  poke(domain.totPages(d0.d), peek(domain.totPages(d0.d)) + peek(globals.freeFrames));
  expect(auditMachine()).toEqual([]);
  poke(fr.countInfo((first + 9999) as Mfn), fr.PGC_allocated | 3);
  expect(auditMachine().map((v) => [v.invariant, v.holders.length])).toEqual([['I5', 2]]);
  expect(FRAMES).toBeGreaterThan(190_000);
});
