/**
 * XSA-379 and XSA-384. Status frames of a grant table at version 2 are freed when the table goes back to version 1. That nobody has
 * one mapped was looked at, and then they were freed: a vCPU that mapped one in between kept a page of the heap. The attack:
 * one vCPU changes the version back and forth, another one maps a status frame.
 *
 * Fixed: the allocation's own reference goes first; a frame that has others left is not freed, and the version stays ([X59]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY } from '../../src/abi/errno.js';
import { GNTTABOP_set_version } from '../../src/abi/grant.js';
import { grantTable } from '../../src/hypervisor/grant/table.js';
import { peek } from '../../src/sync/primitives.js';
import { boot, makeDom, setVersion, slotEntry, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, pte, RW, updateVa } from './attack.js';
import { life, schedules } from './schedules.js';

test('a status frame is mapped, or the table is back at version 1', () => {
  let d: Dom;
  let rc: number;
  let mapped: number;
  const ends = new Set<string>();
  schedules(
    () => {
      boot();
      d = makeDom({ domid: 1, vcpus: 2 });
      expect(setVersion(d, 2)).toBe(0);
      const status = peek(peek(grantTable.statusList(d.gt)));
      const [a, b] = d.cpus as [Guest, Guest];
      return [
        life(a, function* () {
          a.put(0, 1);
          rc = yield* a.grantOp(GNTTABOP_set_version, 1);
        }),
        life(b, function* () {
          mapped = yield* updateVa(b, slotVa(0), pte(status, RW));
        }),
      ];
    },
    () => {
      expect([0, -EBUSY]).toContain(rc);
      expect(peek(grantTable.version(d.gt))).toBe(rc === 0 ? 1 : 2);
      expect(rc === 0 && mapped === 0).toBe(false);
      expect(slotEntry(d, 0) !== 0).toBe(mapped === 0);
      ends.add(rc === 0 ? 'version' : mapped === 0 ? 'mapped' : 'neither');
      audited();
    },
  );
  expect(ends.has('version') && ends.has('mapped')).toBe(true);
});
