/**
 * XSA-242. An update of a page-table entry locks the table's frame, and the lock holds a type reference of its own. Another
 * CPU that drops what is otherwise the last reference then only takes the count from two to one: it is not its business to
 * devalidate. The unlock took it from one to zero, and did not devalidate either. The table's entries kept their references for
 * ever: pages that can never be freed, or retyped. The attack: one vCPU updates entries of a table while another unpins it.
 *
 * Fixed: whoever would leave the lock's reference alone waits for the lock to go, and then drops the last one in
 * full; nobody puts a type under the lock of that very frame ([X12]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { boot, makeDom, on, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, entryOf, filled, mmuUpdate, pin, pte, RW, stateOf, unpin } from './attack.js';
import { life, schedules, type Body } from './schedules.js';

const FREE = 'ref 1 none 0';

/** The table's last reference is its pin, or the entry of an L2 above it. */
test.each(['pin', 'entry'] as const)(
  'an update and the drop of the last reference (a %s) leave nothing behind',
  (last) => {
    let d: Dom;
    let table: Mfn;
    let above: Mfn;
    let held: Mfn;
    let wanted: Mfn;
    let checked = 0;
    let raw = 0;
    const answers = new Set<number>();
    schedules(
      (): Body[] => {
        boot();
        d = makeDom({ domid: 1, vcpus: 2 });
        const [a, b] = d.cpus as [Guest, Guest];
        [table, above, held, wanted] = d.frames as [Mfn, Mfn, Mfn, Mfn];
        filled(a, table, { 3: pte(held, RW) });
        expect(on(a, () => pin(a, 2, above))).toBe(0);
        expect(on(a, () => pin(a, 1, table))).toBe(0);
        if (last === 'entry') {
          expect(on(a, () => mmuUpdate(a, { t: above, i: 0, v: pte(table, RW) }))).toBe(0);
          expect(on(a, () => unpin(a, table))).toBe(0);
        }
        expect(stateOf(table)).toBe(last === 'pin' ? 'ref 2 l1 1 pinned' : 'ref 2 l1 1');
        return [
          life(a, function* () {
            answers.add(yield* mmuUpdate(a, { t: table, i: 5, v: pte(wanted, RW) }));
          }),
          life(b, function* () {
            expect(yield* last === 'pin' ? unpin(b, table) : mmuUpdate(b, { t: above, i: 0, v: 0 })).toBe(0);
          }),
        ];
      },
      () => {
        expect([table, held, wanted].map(stateOf)).toEqual([FREE, FREE, FREE]);
        // Adjusted by the hypervisor when the update came first, stored as it is when the table was none any more.
        const entry = entryOf(table, 5);
        if (entry === pte(wanted, RW)) raw++;
        else if (entry !== 0) checked++;
        audited();
      },
    );
    expect(Math.min(checked, raw)).toBeGreaterThan(10);
    // EINVAL: met while it is no table any more and nothing else yet ([X22]).
    for (const rc of answers) expect([0, -EINVAL]).toContain(rc);
  },
);
