/**
 * A mapper that dies, as Xen 4.17 has it: its handles are released first, and with them the bits by which the granter sees
 * its grant in use; the references that its page-table entries hold go when its tables go, which may be long after. In between a
 * granter that ends the access and gives the page back to its allocator, as Linux does, gets a page that cannot be
 * pinned: a frontend can be made to fail by a backend that dies at the right moment. Nobody writes to the page any more.
 *
 * Not fixed: domain_kill, gnttab_release_mappings (gnttab_release_host_mappings is false for PV); [X64].
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL, ERESTART } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_host_map, GNTST_okay } from '../../src/abi/grant.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { renewQuantum } from '../../src/hypervisor/preempt.js';
import { CONTROL } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, on, type Guest } from '../hypervisor/grant/lab.js';
import { claimsOf, pinOf } from '../hypervisor/grant/tables.js';
import { audited, pin, stateOf, unpin } from './attack.js';

test('between the release of its handles and the end of its tables the granter sees a free grant and a typed page', () => {
  boot({ quantum: 1 });
  const granter = makeDom({ domid: 1 });
  const mapper = makeDom({ domid: 2 });
  const [c, g] = [mapper.cpus[0] as Guest, granter.cpus[0] as Guest];
  const f = granter.frames[0] as Mfn;
  grant(granter, 8, 2, f);
  const [m] = on(c, () => c.map({ dom: 1, ref: 8, flags: GNTMAP_host_map, slot: 3 }));
  expect(m?.status).toBe(GNTST_okay);
  expect(claimsOf(granter.gt, 8)).not.toBe(0);

  const destroy = (): number => {
    renewQuantum(CONTROL);
    return run(() => destroyDomain(CONTROL, mapper.d));
  };
  expect(destroy()).toBe(-ERESTART);
  expect([pinOf(granter.gt, 8), claimsOf(granter.gt, 8)]).toEqual([0, 0]);
  expect(stateOf(f)).toBe('ref 2 writable 1');
  expect(on(g, () => pin(g, 1, f))).toBe(-EINVAL);

  let rc = destroy();
  while (rc === -ERESTART) rc = destroy();
  expect(rc).toBe(0);
  expect(stateOf(f)).toBe('ref 1 none 0');
  expect(on(g, () => pin(g, 1, f))).toBe(0);
  expect(on(g, () => unpin(g, f))).toBe(0);
  audited();
});
