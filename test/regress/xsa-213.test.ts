/**
 * XSA-213. `iret` leaves the guest's kernel for its user mode. As an entry of a multicall it did so in the middle of the
 * list, and the entries behind it were still performed: hypercalls made in user mode, where the hypervisor believes there
 * are none. Its idea of which page tables are the current ones was then the wrong one for references taken and dropped. The attack:
 * multicall { iret, anything }.
 *
 * Fixed: an iret ends the multicall; what comes behind it is not done, and its result is not written ([X37]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_iret } from '../../src/abi/hypercall.js';
import { MMUEXT_NEW_USER_BASEPTR } from '../../src/abi/mmu.js';
import { boot, makeDom, on, slotVa, type Dom } from '../hypervisor/grant/lab.js';
import { audited, callUpdateVa, entryOf, filled, mmuext, multicall, NO_RESULT, pte, RW, stateOf } from './attack.js';

const KERNEL_SLOT = 300;

test.each([0, 1])('nothing behind an iret in a multicall is done (%i entries before it)', (before) => {
  boot();
  const d = makeDom({ domid: 1 });
  const [c] = d.cpus as [Dom['cpus'][number]];
  const [user, data, other] = d.frames as [Mfn, Mfn, Mfn];
  // The user's tables map what the kernel's do, so that results behind the iret could be written.
  filled(c, user, { [KERNEL_SLOT]: entryOf(d.l4, KERNEL_SLOT) });
  expect(on(c, () => mmuext(c, MMUEXT_NEW_USER_BASEPTR, user))).toBe(0);
  const first = Array.from({ length: before }, () => callUpdateVa(slotVa(2), pte(other, RW)));
  const attack = [...first, [HYPERVISOR_iret] as const, callUpdateVa(slotVa(3), pte(data, RW))];
  const [, ...results] = on(c, () => multicall(c, ...attack));
  expect(results).toEqual([...first.map(() => 0), 0, NO_RESULT]);
  expect([c.g.userMode(), stateOf(data), entryOf(d.l1, 3)]).toEqual([true, 'ref 1 none 0', 0]);
  audited();
});
