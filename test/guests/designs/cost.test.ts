/** What an exit costs under each design: grant calls, traps (section 5 of the Xen reference, "Cost"). */
import { describe, expect, test } from 'vitest';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { peek, run } from '../../../src/sync/primitives.js';
import { designByName } from '../../../guests/designs/registry.js';
import { addVaBytes } from '../support.js';
import { GNT } from '../process.js';
import { grant, mapGrants, openLab, runToEnd, spawn, unmapCalls } from './lab.js';

const PAGES = 10;
/** Pages of a process beside its data: program, vdso, stack. */
const OWN = 8 + 1 + 1;
const G = 6;
/** The last two entries of one L1 and the first four of the next. */
const ACROSS = addVaBytes(GNT, 510 * 4096);

/** Grant unmap calls of an exit with G grants in two PTE pages, and stores that were trapped and emulated. */
function exitCost(name: string): { calls: number[]; emulations: number } {
  return run(function* () {
    const lab = yield* openLab(designByName(name)!, { splitPteLocks: name !== 'private-union' });
    const p = yield* spawn(lab, PAGES);
    yield* mapGrants(lab, p, yield* grant(lab, G), ACROSS);
    lab.mapper.calls.length = 0;
    const before = peek(vcpu.nEmulations(lab.c.cpu));
    yield* runToEnd(lab);
    return { calls: unmapCalls(lab.mapper.calls), emulations: peek(vcpu.nEmulations(lab.c.cpu)) - before };
  });
}

describe('exit with six grants across two PTE pages', () => {
  test.each(['zap-pte', 'pre-post'])('%s: two calls per grant, one trap per ordinary entry', (name) => {
    expect(exitCost(name)).toEqual({ calls: Array<number>(2 * G).fill(1), emulations: PAGES + OWN });
  });

  test.each(['private-page', 'private-tuples', 'private-flags', 'private-bitmap', 'private-union'])(
    '%s: one call per PTE page, one for the kernel mappings of the VMA, no trap',
    (name) => {
      expect(exitCost(name)).toEqual({ calls: [2, 4, G], emulations: 0 });
    },
  );

  test.each(['notifier', 'notifier-async'])('%s: two calls for the contiguous range, no trap', (name) => {
    expect(exitCost(name)).toEqual({ calls: [G, G], emulations: 0 });
  });

  test('early-unpin: no call before the VMA closes, too late, and no trap', () => {
    expect(exitCost('early-unpin')).toEqual({ calls: [G, G], emulations: 0 });
  });
});

describe('exit without grants', () => {
  test.each([
    { name: 'zap-pte', emulations: PAGES + OWN },
    { name: 'pre-post', emulations: 0 },
    { name: 'early-unpin', emulations: 0 },
    { name: 'private-page', emulations: 0 },
    { name: 'notifier', emulations: 0 },
  ])('$name: $emulations traps', ({ name, emulations }) => {
    run(function* () {
      const lab = yield* openLab(designByName(name)!);
      yield* spawn(lab, PAGES);
      lab.mapper.calls.length = 0;
      const before = peek(vcpu.nEmulations(lab.c.cpu));
      yield* runToEnd(lab);
      expect(unmapCalls(lab.mapper.calls)).toEqual([]);
      expect(peek(vcpu.nEmulations(lab.c.cpu)) - before).toBe(emulations);
    });
  });
});
