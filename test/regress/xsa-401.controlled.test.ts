/**
 * XSA-401. A frame that becomes a page table must not be writable by any translation that a TLB still holds. The flush was
 * made when the count of writable mappings was seen to be zero, and the type taken afterwards. The attack: between the two,
 * another vCPU maps the frame writable, stores once, so that its TLB holds the translation, and unmaps it without a flush. The
 * count is zero again, the type is taken, the table validated, and that vCPU writes entries into it.
 *
 * Fixed: the type is claimed first, so that nobody can map the frame any more, then the flush, then the validation ([X6]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn, Va } from '../../src/abi/frames.js';
import { PGT_validated, typeInfo } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import { boot, makeDom, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, entryOf, pin, pte, RW, stateOf, updateVa } from './attack.js';
import { life, schedules, type Body } from './schedules.js';

const STORES = 12;

test('a vCPU that maps, stores and unmaps without a flush never writes to a validated table', () => {
  let table: Mfn;
  let target: Mfn;
  /** Entries in the frame when it had become a table. */
  let seen: number | undefined;
  let written = 0;
  let pinned = 0;
  let stale = 0;
  const entries = (): number =>
    Array.from({ length: STORES }, (_, i) => entryOf(table, i)).filter((e) => e !== 0).length;
  schedules(
    (): Body[] => {
      boot();
      const d: Dom = makeDom({ domid: 1, vcpus: 2 });
      const [a, b] = d.cpus as [Guest, Guest];
      [table, target] = d.frames as [Mfn, Mfn];
      seen = undefined;
      return [
        life(a, function* () {
          for (let n = 0; n < 4; n++) if ((yield* pin(a, 1, table)) === 0) return;
        }),
        life(b, function* () {
          for (let i = 0; i < STORES;) {
            // Refused when the frame is a table by now; the stores then fault.
            yield* updateVa(b, slotVa(0), pte(table, RW));
            yield* b.g.store((slotVa(0) + 8 * i++) as Va, pte(target, RW), 0);
            if (b.g.faulted()) return;
            yield* updateVa(b, slotVa(0), 0);
            // The mapping is gone, the translation may not be.
            for (let k = 0; k < 3; k++) {
              yield* b.g.store((slotVa(0) + 8 * i) as Va, pte(target, RW), 0);
              if (b.g.faulted()) break;
              i++;
              stale++;
            }
          }
        }),
      ];
    },
    () => {
      if (stateOf(table).includes('pinned')) pinned++;
      audited();
    },
    { switches: 80 },
    () => {
      if ((peek(typeInfo(table)) & PGT_validated) === 0 || !stateOf(table).includes('l1')) return;
      if (seen !== undefined && entries() !== seen) written++;
      seen = entries();
    },
  );
  expect(written).toBe(0);
  expect([pinned > 100, stale > 100]).toEqual([true, true]);
});
