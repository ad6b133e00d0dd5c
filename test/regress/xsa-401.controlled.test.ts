/**
 * XSA-401. A frame that becomes a page table must not be writable by any translation that a TLB still holds. The flush was
 * made when the count of writable mappings was seen to be zero, and the type taken afterwards. The attack: between the two,
 * another vCPU maps the frame writable, stores once, so that its TLB holds the translation, and unmaps it without a flush. The
 * count is zero again, the type is taken, the table validated, and that vCPU writes entries into it.
 *
 * Fixed: the type is claimed first, so that nobody can map the frame any more, then the flush, then the validation ([X6]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn, Va } from '../../src/abi/frames.js';
import { interleave } from '../../src/explore/loop.js';
import { readyFrom } from '../../src/explore/strategy.js';
import { PGT_validated, typeInfo } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { boot, makeDom, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, entryOf, filled, pin, pte, RW, stateOf, updateVa } from './attack.js';
import { life, schedules, type Body } from './schedules.js';

const STORES = 12;
let d: Dom;
let a: Guest;
let b: Guest;
let table: Mfn;
let target: Mfn;
/** How many entries the frame held when it had become a table; more of them later were written into a table. */
let seen: number | undefined;
let written: number;
let stale: number;
let pinned: number;
beforeEach(() => {
  written = stale = pinned = 0;
});

/** A frame that was writable last, so that its type word is the same before and after another writable mapping. */
function build(): void {
  boot();
  d = makeDom({ domid: 1, vcpus: 2 });
  [a, b] = d.cpus as [Guest, Guest];
  [table, target] = d.frames as [Mfn, Mfn];
  filled(a, table, { 0: 0 });
  seen = undefined;
}
const entries = (): number => Array.from({ length: STORES }, (_, i) => entryOf(table, i)).filter((e) => e !== 0).length;
/** Asked at every step. */
function watch(): void {
  if ((peek(typeInfo(table)) & PGT_validated) === 0 || !stateOf(table).includes('l1')) return;
  if (seen !== undefined && entries() !== seen) written++;
  seen = entries();
}
function look(): void {
  if (stateOf(table).includes('pinned')) pinned++;
  audited();
}
/** Stores an entry through the window; false: it faulted. */
function* storeEntry(i: number): Steps<boolean> {
  yield* b.g.store((slotVa(0) + 8 * i) as Va, pte(target, RW), 0);
  return !b.g.faulted();
}

test('a vCPU that maps, stores and unmaps without a flush never writes to a validated table', () => {
  schedules(
    (): Body[] => {
      build();
      return [
        life(a, function* () {
          for (let n = 0; n < 4; n++) if ((yield* pin(a, 1, table)) === 0) return;
        }),
        life(b, function* () {
          for (let i = 0; i < STORES;) {
            // Refused when the frame is a table by now; the stores then fault.
            yield* updateVa(b, slotVa(0), pte(table, RW));
            if (!(yield* storeEntry(i++))) return;
            yield* updateVa(b, slotVa(0), 0);
            // The mapping is gone, the translation may not be.
            for (let k = 0; k < 3 && (yield* storeEntry(i)); k++) {
              i++;
              stale++;
            }
          }
        }),
      ];
    },
    look,
    { switches: 80 },
    watch,
  );
  expect(written).toBe(0);
  expect([pinned > 100, stale > 100]).toEqual([true, true]);
});

test('nor does it when all of that happens between any two steps of the pin', () => {
  let cycled: boolean;
  let cycles = 0;
  for (let k = 0, last = Infinity; k < last; k++) {
    build();
    cycled = false;
    let taken = 0;
    const bodies = [
      life(a, function* () {
        yield* pin(a, 1, table);
      }),
      life(b, function* () {
        yield* updateVa(b, slotVa(0), pte(table, RW));
        if (yield* storeEntry(0)) cycles++;
        yield* updateVa(b, slotVa(0), 0);
        cycled = true;
        let i = 1;
        while (i < STORES && (yield* storeEntry(i))) i++;
      }),
    ];
    const outcome = interleave(bodies, {
      begin: () => undefined,
      // k steps of the pin, the cycle, the rest of the pin, what is left of the stores.
      pick: (view) => {
        watch();
        const who = readyFrom(view, taken < k || cycled ? 0 : 1);
        if (who === 0) taken++;
        return who;
      },
    });
    if (outcome.kind === 'threw') throw outcome.error;
    expect(outcome.kind).toBe('done');
    look();
    if (taken < k) last = k;
  }
  expect(written).toBe(0);
  expect([pinned > 40, cycles > 10]).toEqual([true, true]);
});
