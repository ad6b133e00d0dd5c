/**
 * XSA-224. A grant mapped writable for the processor and for devices holds two references and two writable types. Undone
 * one half at a time, the second unmap dropped both halves' shares once more than there were. The attack: map an own
 * frame both ways while it is also mapped writable in the ordinary way, unmap one half, unmap the other: the frame's count
 * of writable mappings is one too low, the frame can be pinned as a page table, and the ordinary mapping writes to it.
 *
 * Fixed: a half that is undone drops its own share, and the handle goes with the last ([X54]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTST_bad_handle, GNTST_okay } from '../../src/abi/grant.js';
import { boot, grant, makeDom, on, slotVa, type Dom } from '../hypervisor/grant/lab.js';
import { claimsOf, liveHandles, pinOf } from '../hypervisor/grant/tables.js';
import { audited, pin, pte, RW, stateOf, updateVa } from './attack.js';

const REF = 8;

test.each([
  ['host, then device', ['host', 'device']],
  ['device, then host', ['device', 'host']],
  ['both at once', ['both']],
] as const)('a grant mapped both ways and unmapped %s leaves the frame as it was', (_, halves) => {
  boot();
  const d = makeDom({ domid: 1 });
  const [c] = d.cpus as [Dom['cpus'][number]];
  const [frame] = d.frames as [Mfn];
  expect(on(c, () => updateVa(c, slotVa(0), pte(frame, RW)))).toBe(0);
  grant(d, REF, 1, frame);
  const flags = GNTMAP_host_map | GNTMAP_device_map;
  const [m] = on(c, () => c.map({ dom: 1, ref: REF, flags, slot: 1 }));
  expect(m?.status).toBe(GNTST_okay);
  expect(stateOf(frame)).toBe('ref 4 writable 3');
  const handle = m?.handle ?? -1;
  const dev = m?.dev ?? 0;
  const unmaps = { host: { handle, slot: 1 }, device: { handle, dev }, both: { handle, slot: 1, dev } };
  for (const half of halves) expect(on(c, () => c.unmap(unmaps[half]))).toEqual([GNTST_okay]);
  expect([stateOf(frame), pinOf(d.gt, REF), claimsOf(d.gt, REF), liveHandles(d.gt)]).toEqual([
    'ref 2 writable 1',
    0,
    0,
    [],
  ]);
  expect(on(c, () => c.unmap(unmaps.both))).toEqual([GNTST_bad_handle]);
  // The ordinary mapping is still there, and writable: no page table can be made of the frame.
  expect(on(c, () => pin(c, 1, frame))).toBe(-EINVAL);
  expect(on(c, () => updateVa(c, slotVa(0), 0))).toBe(0);
  expect(on(c, () => pin(c, 1, frame))).toBe(0);
  audited();
});
