/**
 * XSA-234. An unmap looks at the page-table entry it is told to take away. It compared the frame only, not whether the
 * entry was writable as the grant's was. The attack: frame 1 granted and mapped writable at A, frame 2 read-only at B;
 * unmap_and_replace of B's grant by what is at A moves frame 1's writable entry to B; put a read-only entry for frame 1
 * at A, which takes no writable type; unmap frame 1's grant at A. The writable type is dropped with a read-only
 * entry, while the writable entry lives on at B: frame 1 can be pinned as a page table and written.
 *
 * Fixed: the entry must be as writable as the map was, else general error and nothing happens ([X48]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_host_map, GNTMAP_readonly, GNTST_general_error, GNTST_okay } from '../../src/abi/grant.js';
import { PAGE_RW } from '../../src/abi/pte.js';
import { boot, grant, makeDom, on, replaceOp, slotVa, type Dom } from '../hypervisor/grant/lab.js';
import { audited, entryOf, pin, pte, RO, stateOf, updateVa } from './attack.js';

const [A, B] = [1, 2] as const;

test('a writable grant is not unmapped by way of a read-only entry for the same frame', () => {
  boot();
  const d = makeDom({ domid: 1 });
  const [c] = d.cpus as [Dom['cpus'][number]];
  const [f1, f2] = d.frames as [Mfn, Mfn];
  grant(d, 8, 1, f1);
  grant(d, 9, 1, f2);
  const maps = on(c, () =>
    c.map(
      { dom: 1, ref: 8, flags: GNTMAP_host_map, slot: A },
      { dom: 1, ref: 9, flags: GNTMAP_host_map | GNTMAP_readonly, slot: B },
    ),
  );
  expect(maps.map((m) => m.status)).toEqual([GNTST_okay, GNTST_okay]);
  const [h1, h2] = maps.map((m) => m.handle) as [number, number];
  expect(on(c, () => replaceOp(c, h2, B, A))).toBe(GNTST_okay);
  expect([entryOf(d.l1, A), entryOf(d.l1, B) >>> 12, entryOf(d.l1, B) & PAGE_RW]).toEqual([0, f1, PAGE_RW]);
  expect(on(c, () => updateVa(c, slotVa(A), pte(f1, RO)))).toBe(0);
  expect(stateOf(f1)).toBe('ref 3 writable 1');

  expect(on(c, () => c.unmap({ handle: h1, slot: A }))).toEqual([GNTST_general_error]);
  expect(stateOf(f1)).toBe('ref 3 writable 1');
  expect(on(c, () => pin(c, 1, f1))).toBe(-EINVAL);
  audited();

  // The entry as it was mapped, at B now, is the one that the handle still unmaps.
  expect(on(c, () => c.unmap({ handle: h1, slot: B }))).toEqual([GNTST_okay]);
  expect(stateOf(f1)).toBe('ref 2 none 0');
  audited();
});
