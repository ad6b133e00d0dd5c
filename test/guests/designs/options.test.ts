/** Designs in kernels with other options, what they refuse, what a debug hypervisor says, and the list of them. */
import { describe, expect, test } from 'vitest';
import { ENOMEM } from '../../../src/abi/errno.js';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { peek, poke, run } from '../../../src/sync/primitives.js';
import { designByName, DESIGNS } from '../../../guests/designs/registry.js';
import { flaggedHandles, handleArray, handlesAndBitmap, tupleArray } from '../../../guests/designs/slot-layouts.js';
import { NO_HANDLE } from '../../../guests/drivers/gntdev/map.js';
import { warned } from '../../../guests/kernel/count.js';
import { WARN } from '../../../guests/kernel/counters.js';
import { EXIT_2_6_25, EXIT_6_1, kernel } from '../../../guests/kernel/records.js';
import { GNT } from '../process.js';
import { audit, broken, grant, mapGrants, openLab, runToEnd, spawn, tryMapGrants } from './lab.js';
import type { DomainOptions } from '../machine.js';

/** Known-wrong designs that break only where a fault is injected. */
const UNDER_FAULTS = loadCatalog()
  .designs.filter((d) => d.underFaults === true)
  .map((d) => d.name);
const CORRECT = DESIGNS.filter((d) => !d.name.endsWith('-buggy') && d.name !== 'early-unpin');
const BUGGY = DESIGNS.filter((d) => d.name.endsWith('-buggy') && !UNDER_FAULTS.includes(d.name));

/** Invariants broken when a process that maps grants exits. */
function exitUnder(name: string, o: DomainOptions, debug = false): { found: string[]; gps: number } {
  return run(function* () {
    const lab = yield* openLab(designByName(name)!, o, debug);
    const p = yield* spawn(lab, 5);
    yield* mapGrants(lab, p, yield* grant(lab, 3), GNT);
    yield* runToEnd(lab);
    return { found: broken(audit(lab)), gps: warned(lab.c.k, WARN.gp) };
  });
}

describe('the catalog', () => {
  test('names exactly the designs there are, known-wrong ones by their ending, with the rule they break', () => {
    const { designs } = loadCatalog();
    expect(designs.map((d) => d.name)).toEqual(DESIGNS.map((d) => d.name));
    for (const d of designs) {
      expect(d.buggy).toBe(d.name.endsWith('-buggy'));
      expect(d.rule !== undefined).toBe(d.buggy);
    }
  });

  test('no name twice, none without a design', () => {
    expect(new Set(DESIGNS.map((d) => d.name)).size).toBe(DESIGNS.length);
    expect(designByName('zap')).toBeUndefined();
  });
});

describe('one PTE lock for a whole mm', () => {
  test.each(CORRECT.map((d) => d.name))('%s stays clean', (name) => {
    expect(exitUnder(name, { splitPteLocks: false }).found).toEqual([]);
  });

  test.each(BUGGY.map((d) => d.name).filter((n) => n !== 'private-bypass-buggy'))('%s is still found', (name) => {
    expect(exitUnder(name, { splitPteLocks: false }).found).not.toEqual([]);
  });
});

describe('the order of 2.6.25', () => {
  const able = CORRECT.filter((d) => d.refuses({ splitPteLocks: false, exitOrder: EXIT_2_6_25 }) === '');

  test('is refused by the designs that live by notifiers, and by no other', () => {
    expect(CORRECT.filter((d) => !able.includes(d)).map((d) => d.name)).toEqual([
      'notifier',
      'notifier-async',
      'notifier-coping',
      'notifier-split',
    ]);
  });

  test.each(able.map((d) => d.name))('%s stays clean', (name) => {
    expect(exitUnder(name, { exitOrder: EXIT_2_6_25, splitPteLocks: name !== 'private-union' }).found).toEqual([]);
  });

  test('notifier-async, made to run in it all the same, leaks', () => {
    expect(exitUnder('notifier-async', { exitOrder: EXIT_2_6_25 }).found).toEqual(['I10']);
  });
});

describe('private-union', () => {
  test('refuses split PTE locks: the field it wants is the lock', () => {
    const design = designByName('private-union')!;
    expect(design.refuses({ splitPteLocks: true, exitOrder: EXIT_6_1 })).toMatch('PTE lock');
    expect(design.refuses({ splitPteLocks: false, exitOrder: EXIT_6_1 })).toBe('');
  });

  test('made to run with them it breaks: the lock looks like slots', () => {
    expect(() => exitUnder('private-union', { splitPteLocks: true })).toThrow(
      /unlock of a lock held by another|touch refused/,
    );
  });
});

describe('a debug hypervisor', () => {
  test('early-unpin gets a #GP in the multicall, and leaks all the same ([X61])', () => {
    const { found, gps } = exitUnder('early-unpin', {}, true);
    expect(found).toEqual(['I10']);
    expect(gps).toBeGreaterThan(0);
  });

  test.each(CORRECT.map((d) => d.name))('%s gets none', (name) => {
    expect(exitUnder(name, { splitPteLocks: name !== 'private-union' }, true)).toEqual({ found: [], gps: 0 });
  });
});

describe('slots', () => {
  test('handles take 2,048 bytes, with a bitmap 64 more; tuples take two pages', () => {
    expect([handleArray, handlesAndBitmap, tupleArray].map((l) => l.words * 4)).toEqual([2048, 2112, 6144]);
  });

  test('a flag in the top bit leaves 31 bits, less the one handle that would look empty', () => {
    for (const restores of [false, true]) {
      for (const handle of [0, 1, 262_143, 0x7ffffffe]) {
        expect(flaggedHandles.fits(handle)).toBe(true);
        expect(flaggedHandles.decode(flaggedHandles.encode(handle, restores))).toBe(handle);
      }
    }
    for (const handle of [0x7fffffff, 1 << 31, NO_HANDLE]) expect(flaggedHandles.fits(handle)).toBe(false);
    expect(handleArray.fits(1 << 31)).toBe(true);
    expect(handleArray.fits(NO_HANDLE)).toBe(false);
  });

  test.each(['private-page', 'private-tuples'])('%s refuses the mmap when memory for slots is short', (name) => {
    const pages = name === 'private-tuples' ? 2 : 1;
    run(function* () {
      const lab = yield* openLab(designByName(name)!);
      const p = yield* spawn(lab, 1);
      const refs = yield* grant(lab, 2);
      // An L3, an L2 and an L1 for the new range come first.
      poke(kernel.failPage(lab.c.k), 3 + pages);
      expect(yield* tryMapGrants(lab, p, refs, GNT)).toBe(-ENOMEM);
      yield* runToEnd(lab);
      expect(broken(audit(lab))).toEqual([]);
      expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
    });
  });
});
