/**
 * XSA-182. A top-level table may name itself, read-only: its own entries can then be read at some address. The check that
 * such a link is read-only was made when the link was made; a later change of the entry that kept its frame took the short
 * way, on which the writable bit counted as harmless. The attack: link the running L4 to itself read-only, set RW
 * in that entry, and write page tables with plain stores.
 *
 * Fixed: a change of RW in an upper entry goes the long way and is refused for a link ([X17], [X18]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import { makeVa, type Mfn, type Va } from '../../src/abi/frames.js';
import { MMU_PT_UPDATE_PRESERVE_AD } from '../../src/abi/mmu.js';
import { PAGE_PRESENT, PAGE_RW } from '../../src/abi/pte.js';
import { boot, makeDom, on, type Dom } from '../hypervisor/grant/lab.js';
import { audited, entryOf, mmuUpdate, pin, pte, RO, RW } from './attack.js';

const LINK = 310;
const TEST = 311;
let d: Dom;
let c: Dom['cpus'][number];
beforeEach(() => {
  boot();
  d = makeDom({ domid: 1 });
  c = d.cpus[0] as Dom['cpus'][number];
});

test('the running L4 linked to itself stays read-only: it can be looked at, not written', () => {
  expect(on(c, () => mmuUpdate(c, { t: d.l4, i: LINK, v: pte(d.l4, RO) }))).toBe(0);
  const link = makeVa(LINK, LINK, LINK, LINK);
  const read = on(c, () => c.g.load((link + 8 * LINK) as Va));
  expect(read >>> 12).toBe(d.l4);
  for (const cmd of [0, MMU_PT_UPDATE_PRESERVE_AD]) {
    expect(on(c, () => mmuUpdate(c, { t: d.l4, i: LINK, v: pte(d.l4, RW), cmd }))).toBe(-EINVAL);
  }
  on(c, () => c.g.store((link + 8 * TEST) as Va, 0x1ead000, 0));
  expect(c.g.faulted()).toBe(true);
  expect([entryOf(d.l4, TEST), entryOf(d.l4, LINK) & (PAGE_PRESENT | PAGE_RW)]).toEqual([0, PAGE_PRESENT]);
  audited();
});

test.each([2, 3, 4])('nor can a link between two L%i tables be made writable', (level) => {
  const [a, b] = d.frames as [Mfn, Mfn];
  for (const m of [a, b]) expect(on(c, () => pin(c, level, m))).toBe(0);
  expect(on(c, () => mmuUpdate(c, { t: a, i: 3, v: pte(b, RO) }, { t: a, i: 4, v: pte(a, RO) }))).toBe(0);
  for (const [i, m] of [
    [3, b],
    [4, a],
  ] as const) {
    expect(on(c, () => mmuUpdate(c, { t: a, i, v: pte(m, RO | PAGE_RW) }))).toBe(-EINVAL);
    expect(entryOf(a, i) & PAGE_RW).toBe(0);
  }
  audited();
});
