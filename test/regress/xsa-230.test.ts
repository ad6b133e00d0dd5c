/**
 * XSA-230. The granter sees by two bits of its entry whether its page is being read, and written. When the last writer
 * by the processor went, the writing bit was taken back, although a device's mapping was still there and writable: the counts of the two
 * kinds are kept apart, and only one was looked at. The attack: map a grant for devices, writable; use it once more, in a copy; the
 * granter sees nobody writing, revokes, and uses the page for something else.
 *
 * Fixed: writing stays while any writer does ([X45], [X46]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { DOMID_SELF, type Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTST_okay, GTF_reading, GTF_writing } from '../../src/abi/grant.js';
import { boot, copyOp, grant, makeDom, on, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { claimsOf, pinOf } from '../hypervisor/grant/tables.js';
import { audited, stateOf } from './attack.js';

const REF = 8;
const BOTH = GTF_reading | GTF_writing;

test.each(['a copy', 'a host mapping'])('the end of %s leaves the bits that a device’s mapping needs', (what) => {
  boot();
  const granter = makeDom({ domid: 1 });
  const mapper: Dom = makeDom({ domid: 2 });
  const [frame] = granter.frames as [Mfn];
  const c = mapper.cpus[0] as Guest;
  grant(granter, REF, 2, frame);
  const [device] = on(c, () => c.map({ dom: 1, ref: REF, flags: GNTMAP_device_map }));
  expect(device?.status).toBe(GNTST_okay);
  if (what === 'a copy') {
    const source = { dom: DOMID_SELF, mfn: mapper.frames[0] as number, offset: 0 };
    const dest = { dom: 1, ref: REF, offset: 0 };
    expect(on(c, () => copyOp(c, [{ source, dest, length: 64 }]))).toEqual([GNTST_okay]);
  } else {
    const [host] = on(c, () => c.map({ dom: 1, ref: REF, flags: GNTMAP_host_map, slot: 0 }));
    expect(on(c, () => c.unmap({ handle: host?.handle ?? -1, slot: 0 }))).toEqual([GNTST_okay]);
  }
  expect([claimsOf(granter.gt, REF), stateOf(frame)]).toEqual([BOTH, 'ref 2 writable 1']);
  audited();
  expect(on(c, () => c.unmap({ handle: device?.handle ?? -1, dev: device?.dev ?? 0 }))).toEqual([GNTST_okay]);
  expect([claimsOf(granter.gt, REF), pinOf(granter.gt, REF), stateOf(frame)]).toEqual([0, 0, 'ref 1 none 0']);
  audited();
});
