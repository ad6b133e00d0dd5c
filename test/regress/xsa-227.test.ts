/**
 * XSA-227. A grant can be mapped by naming the machine address of the page-table entry to be used. That the address was
 * one of an entry, a multiple of eight, was not checked. The attack: name an address two bytes before an entry; the new
 * entry is written across two, and the halves mean whatever the attacker wants.
 *
 * Fixed: an address that is not a multiple of eight is a general error, for maps and unmaps, with nothing written ([X52]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import { GNTMAP_contains_pte, GNTMAP_host_map, GNTST_general_error, GNTST_okay } from '../../src/abi/grant.js';
import { peek } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, on, pteAddress, slotVa, type Dom } from '../hypervisor/grant/lab.js';
import { claimsOf, liveHandles, pinOf } from '../hypervisor/grant/tables.js';
import { audited, pte, RO, stateOf, updateVa } from './attack.js';

const REF = 8;
const BY_PTE = GNTMAP_host_map | GNTMAP_contains_pte;
let d: Dom;
let c: Dom['cpus'][number];
let granted: Mfn;
let mapped: Mfn;
beforeEach(() => {
  boot();
  d = makeDom({ domid: 1 });
  c = d.cpus[0] as Dom['cpus'][number];
  [granted, mapped] = d.frames as [Mfn, Mfn];
  grant(d, REF, 1, granted);
  for (const slot of [1, 3]) expect(on(c, () => updateVa(c, slotVa(slot), pte(mapped, RO)))).toBe(0);
});
/** All words of the table's first five entries. */
const words = (): number[] => Array.from({ length: 10 }, (_, i) => peek(mfnWord(d.l1) + i));

test.each([-7, -6, -5, -4, -3, -2, -1, 1, 2, 4, 7])('a map at an entry’s address %i is refused', (off) => {
  const before = words();
  const [m] = on(c, () => c.map({ dom: 1, ref: REF, flags: BY_PTE, pte: pteAddress(d.l1, 2) + off }));
  expect(m?.status).toBe(GNTST_general_error);
  expect([words(), stateOf(granted), pinOf(d.gt, REF), claimsOf(d.gt, REF)]).toEqual([before, 'ref 1 none 0', 0, 0]);
  expect(on(c, () => c.g.load32(slotVa(1)))).toBe(0);
  expect(c.g.faulted()).toBe(false);
  audited();
});

test('an unmap there is refused too, and the right address still works', () => {
  const at = pteAddress(d.l1, 2);
  const [m] = on(c, () => c.map({ dom: 1, ref: REF, flags: BY_PTE, pte: at }));
  expect(m?.status).toBe(GNTST_okay);
  const before = words();
  const handle = m?.handle ?? -1;
  for (const off of [-2, 2, 4, 7]) {
    expect(on(c, () => c.unmap({ handle, pte: at + off }))).toEqual([GNTST_general_error]);
  }
  expect([words(), liveHandles(d.gt)]).toEqual([before, [handle]]);
  expect(on(c, () => c.unmap({ handle, pte: at }))).toEqual([GNTST_okay]);
  expect([stateOf(granted), liveHandles(d.gt)]).toEqual(['ref 1 none 0', []]);
  audited();
});
