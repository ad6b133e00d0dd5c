/** The walk against a change of the entry it reads, in every schedule. */
import { describe, expect, it } from 'vitest';
import { makeVa, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { entryLo, PAGE_ACCESSED, PAGE_DIRTY } from '../../src/abi/pte.js';
import { ACCESS_WRITE, translate } from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt } from '../../src/sync/actor.js';
import { st64, xchg64 } from '../../src/sync/primitives.js';
import { everySchedule } from '../support/schedules.js';
import { FULL, runningOn, Tables } from './tables.js';

const cpu = cpuAt(1);
const VA = makeVa(3, 2, 1, 7);

describe('a walk races with a store to its L1 entry', () => {
  const setting = (): { slot: number; before: Mfn; after: Mfn } => {
    const tables = new Tables();
    const root = tables.frame();
    const before = tables.frame();
    const after = tables.frame();
    const slot = tables.map(root, VA, before);
    runningOn(cpu, root);
    return { slot, before, after };
  };

  it('a cleared entry stays cleared: no accessed or dirty bit appears in it afterwards', () => {
    let found = -2;
    let cleared = 0;
    const { slot, before } = setting();
    const outcomes = new Set<string>();
    everySchedule(
      () => {
        setting();
      },
      [
        function* () {
          found = yield* translate(cpu, VA, ACCESS_WRITE);
        },
        function* () {
          cleared = yield* xchg64(slot, 0, 0);
        },
      ],
      () => {
        expect(words[slot]).toBe(0);
        const dirtied = (cleared & PAGE_DIRTY) !== 0;
        // Found means found before the exchange, which then saw the bits; refused means they were never set.
        expect(found >= 0).toBe(dirtied);
        outcomes.add(found >= 0 ? 'found' : 'refused');
        if (found >= 0) expect(found).toBe(mfnWord(before));
      },
    );
    expect([...outcomes].sort()).toEqual(['found', 'refused']);
  });

  it('an entry that changes its frame gives the old or the new one, with the bits in the entry that was used', () => {
    let found = -2;
    const { slot, before, after } = setting();
    const seen = new Set<number>();
    everySchedule(
      () => {
        setting();
      },
      [
        function* () {
          found = yield* translate(cpu, VA, ACCESS_WRITE);
        },
        function* () {
          yield* st64(slot, entryLo(after, FULL), 0);
        },
      ],
      () => {
        seen.add(found);
        const left = words[slot] as number;
        expect(left >>> 12).toBe(after);
        expect(left & (PAGE_ACCESSED | PAGE_DIRTY)).toBe(found === mfnWord(after) ? PAGE_ACCESSED | PAGE_DIRTY : 0);
      },
    );
    expect([...seen].sort((a, b) => a - b)).toEqual([mfnWord(before), mfnWord(after)]);
  });
});
