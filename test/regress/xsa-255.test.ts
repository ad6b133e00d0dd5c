/**
 * XSA-255. With version 2 of the grant table come status frames: pages of the hypervisor that the guest maps. Going
 * back to version 1 freed them without a look at whether they were still mapped. The attack: go to version 2, map a status
 * frame, go back to version 1, and own a mapping of a page that belongs to the heap, and soon to somebody else.
 *
 * Fixed: EBUSY while any of the frames is mapped, with everything as it was; afterwards the way back is free ([X59]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY } from '../../src/abi/errno.js';
import { DOMID_SELF, type Mfn, type Va } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import { countInfo, PGC_allocated, PGC_count_mask } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { boot, makeDom, on, setVersion, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, pte, RO, RW, updateVa } from './attack.js';

/** GNTTABOP_get_status_frames of the caller's own table: the first frame. */
function* statusFrame(c: Guest): Steps<number> {
  c.put(0, 1);
  c.put(gnt.STATUS_FRAMES_DOM, DOMID_SELF);
  c.putVa(gnt.STATUS_FRAMES_LIST, (c.va + 4 * 32) as Va);
  const rc = yield* c.grantOp(gnt.GNTTABOP_get_status_frames, 1);
  return rc === 0 && c.get(gnt.STATUS_FRAMES_DOM) >> 16 === gnt.GNTST_okay ? c.get(32) : -1;
}

test.each([
  ['read-only', RO],
  ['writable', RW],
])('a table whose status frame is mapped %s stays at version 2', (_, flags) => {
  boot();
  const d = makeDom({ domid: 1 });
  const [c] = d.cpus as [Dom['cpus'][number]];
  expect(setVersion(d, 2)).toBe(0);
  const frame = on(c, () => statusFrame(c)) as Mfn;
  expect(frame).toBeGreaterThan(0);
  expect(on(c, () => updateVa(c, slotVa(0), pte(frame, flags)))).toBe(0);
  const before = peek(countInfo(frame)) & (PGC_count_mask | PGC_allocated);
  expect(setVersion(d, 1)).toBe(-EBUSY);
  expect(peek(countInfo(frame)) & (PGC_count_mask | PGC_allocated)).toBe(before);
  expect(on(c, () => statusFrame(c))).toBe(frame);
  audited();
  expect(on(c, () => updateVa(c, slotVa(0), 0))).toBe(0);
  expect(setVersion(d, 1)).toBe(0);
  expect(on(c, () => statusFrame(c))).toBe(-1);
  expect(on(c, () => updateVa(c, slotVa(0), pte(frame, flags)))).toBeLessThan(0);
  audited();
});
