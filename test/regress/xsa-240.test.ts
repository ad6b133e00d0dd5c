/**
 * XSA-240. A table may link read-only to another of its own level, and each such link keeps the other validated. Nothing
 * limited how long a chain of links could be: L4 to L4 to L4 and so on. Dropping the first one devalidated the second from inside,
 * that the third, and so on, until the hypervisor's stack was used up. The attack: link thousands of pinned L4s in a
 * row, unpin all but the first, unpin the first.
 *
 * Fixed: a table holds links or is linked to, never both, so a chain has one link; both counts are kept while tables
 * are validated and devalidated in parts, too, which they at first were not: XSA-309 ([X17]).
 */
import { beforeEach, describe, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { boot, makeDom, on, type Dom } from '../hypervisor/grant/lab.js';
import { audited, entryOf, filled, mmuUpdate, pin, pte, RO, stateOf, unpin } from './attack.js';

const CHAIN = 24;
let d: Dom;
let c: Dom['cpus'][number];
const build = (quantum: number): void => {
  boot({ quantum });
  d = makeDom({ domid: 1, frames: CHAIN });
  c = d.cpus[0] as Dom['cpus'][number];
};

describe.each([2, 3, 4])('links between L%i tables', (level) => {
  beforeEach(() => {
    build(0);
  });

  test('make no chain by updates, in either direction', () => {
    for (const m of d.frames) expect(on(c, () => pin(c, level, m))).toBe(0);
    const linked = d.frames.slice(1).map((to, i) => {
      const rc = on(c, () => mmuUpdate(c, { t: d.frames[i] as Mfn, i: 1, v: pte(to, RO) }));
      expect([0, -EINVAL]).toContain(rc);
      return rc === 0;
    });
    expect(linked).toEqual(linked.map((_, i) => i % 2 === 0));
    const [a, b, x] = d.frames as [Mfn, Mfn, Mfn];
    expect(on(c, () => mmuUpdate(c, { t: x, i: 9, v: pte(a, RO) }))).toBe(-EINVAL);
    expect(on(c, () => unpin(c, b))).toBe(0);
    expect(stateOf(b)).toBe(`ref 2 l${String(level)} 1`);
    expect(on(c, () => unpin(c, a))).toBe(0);
    expect([stateOf(a), stateOf(b)]).toEqual(['ref 1 none 0', 'ref 1 none 0']);
    audited();
  });

  test('make no chain by validation of a frame that was filled before', () => {
    const [last, middle, first] = d.frames as [Mfn, Mfn, Mfn];
    expect(on(c, () => pin(c, level, last))).toBe(0);
    filled(c, middle, { 1: pte(last, RO) });
    expect(on(c, () => pin(c, level, middle))).toBe(0);
    filled(c, first, { 1: pte(middle, RO) });
    expect(on(c, () => pin(c, level, first))).toBe(-EINVAL);
    expect(stateOf(first)).toBe('ref 1 none 0');
    audited();
  });
});

test('the counts survive validation and devalidation in parts (XSA-309)', () => {
  build(1);
  const [target, low, linker, other] = d.frames as [Mfn, Mfn, Mfn, Mfn];
  expect(on(c, () => pin(c, 3, target))).toBe(0);
  // Entries behind the links are L2s, so that the L3's validation is interrupted between and behind the links.
  filled(c, linker, { 1: pte(target, RO), 2: pte(low, 0x67), 3: pte(target, RO), 4: pte(low, 0x67) });
  expect(on(c, () => pin(c, 3, linker))).toBe(0);
  expect(stateOf(target)).toBe('ref 4 l3 3 pinned');
  expect(on(c, () => pin(c, 3, other))).toBe(0);
  expect(on(c, () => mmuUpdate(c, { t: target, i: 0, v: pte(other, RO) }))).toBe(-EINVAL);
  expect(on(c, () => mmuUpdate(c, { t: other, i: 0, v: pte(linker, RO) }))).toBe(-EINVAL);
  audited();
  expect(on(c, () => unpin(c, linker))).toBe(0);
  expect([stateOf(linker), stateOf(target), entryOf(linker, 1) >>> 12]).toEqual([
    'ref 1 none 0',
    'ref 2 l3 1 pinned',
    target,
  ]);
  expect(on(c, () => mmuUpdate(c, { t: target, i: 0, v: pte(other, RO) }))).toBe(0);
  audited();
});
