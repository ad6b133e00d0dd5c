/**
 * XSA-148. A change of an L2 entry that leaves its frame and its writability alone takes a short way: no references are
 * looked at again. The bits that the short way lets through were a list of what matters, and "this entry maps two
 * megabytes" was not on it. The attack: take a live L2 entry, which names an L1, and rewrite it with PSE set. The page
 * table below becomes a large page of plain memory, writable, with 511 frames of others behind it.
 *
 * Fixed: what may not be in an entry is looked at first, whatever changed; PSE is refused with EINVAL in L2, L3 and L4
 * ([X18], [X24]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { PAGE_PSE } from '../../src/abi/pte.js';
import { boot, makeDom, on, type Dom } from '../hypervisor/grant/lab.js';
import { audited, entryOf, filled, mmuUpdate, pin, pte, RW, stateOf, unpin } from './attack.js';

let d: Dom;
beforeEach(() => {
  boot();
  d = makeDom({ domid: 1 });
});

test.each([2, 3, 4])('PSE cannot be set in a live L%i entry that keeps its table', (level) => {
  const [c] = d.cpus as [Dom['cpus'][number]];
  const [below, table] = d.frames as [Mfn, Mfn];
  filled(c, table, { 5: pte(below, RW) });
  expect(on(c, () => pin(c, level, table))).toBe(0);
  const before = [entryOf(table, 5), stateOf(table), stateOf(below)];
  for (const flags of [RW | PAGE_PSE, (RW & ~0x60) | PAGE_PSE]) {
    expect(on(c, () => mmuUpdate(c, { t: table, i: 5, v: pte(below, flags) }))).toBe(-EINVAL);
  }
  expect([entryOf(table, 5), stateOf(table), stateOf(below)]).toEqual(before);
  audited();
});

test.each([2, 3, 4])('an L%i that holds such an entry is never validated', (level) => {
  const [c] = d.cpus as [Dom['cpus'][number]];
  const [below, table] = d.frames as [Mfn, Mfn];
  filled(c, table, { 5: pte(below, RW | PAGE_PSE) });
  expect(on(c, () => pin(c, level, table))).toBe(-EINVAL);
  filled(c, table, { 5: 0 });
  expect(on(c, () => pin(c, level, table))).toBe(0);
  expect(on(c, () => mmuUpdate(c, { t: table, i: 7, v: pte(below, RW | PAGE_PSE) }))).toBe(-EINVAL);
  expect(on(c, () => unpin(c, table))).toBe(0);
  expect([stateOf(table), stateOf(below)]).toEqual(['ref 1 none 0', 'ref 1 none 0']);
  audited();
});
