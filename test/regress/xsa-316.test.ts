/**
 * XSA-316. A map that fails answers a negative status. On one way out, taken when the entry is not for the caller, a pair of
 * brackets stood wrong and the status became 1: positive, which callers that test for "less than zero" take for success, with
 * a mapping that is not there. The attack is on oneself: map a reference and name the wrong domain.
 *
 * Fixed: general error, nothing mapped, nothing held ([X50]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly, GNTST_general_error } from '../../src/abi/grant.js';
import { boot, grant, makeDom, on, slotEntry, type Guest } from '../hypervisor/grant/lab.js';
import { claimsOf, liveHandles, pinOf } from '../hypervisor/grant/tables.js';
import { audited, stateOf } from './attack.js';

const REF = 8;

test.each([GNTMAP_host_map, GNTMAP_host_map | GNTMAP_readonly, GNTMAP_device_map])(
  'a map (flags %i) of what is granted to somebody else is a negative status, and nothing',
  (flags) => {
    boot();
    const granter = makeDom({ domid: 1 });
    const other = makeDom({ domid: 2 });
    makeDom({ domid: 3 });
    const c = other.cpus[0] as Guest;
    grant(granter, REF, 3, granter.frames[0] as Mfn);
    // The right reference of the wrong domain, and a reference that is for a third one.
    for (const dom of [1, 3]) {
      const [m] = on(c, () => c.map({ dom, ref: REF, flags, slot: 0 }));
      expect(m?.status).toBe(GNTST_general_error);
    }
    expect([slotEntry(other, 0), liveHandles(other.gt)]).toEqual([0, []]);
    expect([pinOf(granter.gt, REF), claimsOf(granter.gt, REF)]).toEqual([0, 0]);
    expect(stateOf(granter.frames[0] as Mfn)).toBe('ref 1 none 0');
    audited();
  },
);
