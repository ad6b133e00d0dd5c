/** I14 of a domain with two vCPUs: a handle is on one of their free lists only. */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import * as gnt from '../../src/abi/grant.js';
import { auditMachine } from '../../src/audit/index.js';
import { freeList, freeListOf } from '../../src/hypervisor/grant/maptrack.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, on } from '../hypervisor/grant/lab.js';

test('I14: a handle that is on the free lists of two vCPUs', () => {
  boot();
  const granter = makeDom({ domid: 1, frames: 1 });
  const mapper = makeDom({ domid: 2, vcpus: 2 });
  grant(granter, 8, 2, granter.frames[0]!);
  for (const c of mapper.cpus)
    on(c, () => c.map({ dom: 1, ref: 8, flags: gnt.GNTMAP_host_map, slot: 4 + mapper.cpus.indexOf(c) }));
  const details = (): string[] => auditMachine(['I14']).map((v) => v.detail);
  expect(details()).toEqual([]);
  const [a, b] = [freeListOf(mapper.gt, 0), freeListOf(mapper.gt, 1)];
  const first = peek(freeList.head(a));
  expect([first, peek(freeList.head(b))]).not.toContain(-1);
  poke(freeList.head(b), first);
  poke(freeList.tail(b), peek(freeList.tail(a)));
  expect(details()[0]).toBe(`d2: handle ${String(first)} is on the lists of vCPUs 0 and 1`);
});
