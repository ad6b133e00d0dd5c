/**
 * XSA-228. Free handles lie on lists, one per vCPU, and a vCPU whose list is empty steals from another's. The lists had no
 * locks: taking from one's own list was thought to be nobody else's business, which the thief contradicts. Two vCPUs could
 * leave with the same handle, or tear the list. The attack: two vCPUs that map and unmap in a loop, one of them out of handles.
 *
 * Fixed: a lock for each list, taken by its owner, by whoever frees into it and by a thief ([X47]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_host_map, GNTST_okay } from '../../src/abi/grant.js';
import { boot, grant, makeDom, on, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { freeLists, liveHandles, maptrackLimit, pinOf } from '../hypervisor/grant/tables.js';
import { audited, stateOf } from './attack.js';
import { life, schedules } from './schedules.js';

const REFS = [8, 9];

test('a vCPU that takes and frees handles and one that steals them never share one', () => {
  let granter: Dom;
  let mapper: Dom;
  let live: number[];
  let stolen = 0;
  schedules(
    () => {
      boot();
      granter = makeDom({ domid: 1 });
      mapper = makeDom({ domid: 2, vcpus: 2, maxMaptrackFrames: 1 });
      live = [];
      for (const [i, ref] of REFS.entries()) grant(granter, ref, 2, granter.frames[i] as Mfn);
      // All handles there will ever be go to the first vCPU's list: the second one has to steal.
      const c = mapper.cpus[0] as Guest;
      const [m] = on(c, () => c.map({ dom: 1, ref: 8, flags: GNTMAP_host_map, slot: 9 }));
      expect(on(c, () => c.unmap({ handle: m?.handle ?? -1, slot: 9 }))).toEqual([GNTST_okay]);
      expect(freeLists(mapper.gt).map((l) => l.length)).toEqual([maptrackLimit(mapper.gt), 0]);
      return mapper.cpus.map((cpu, v) =>
        life(cpu, function* () {
          for (let n = 0; n < 3; n++) {
            const [r] = yield* cpu.map({ dom: 1, ref: REFS[v] as number, flags: GNTMAP_host_map, slot: v });
            expect(r?.status).toBe(GNTST_okay);
            const handle = r?.handle ?? -1;
            expect(live).not.toContain(handle);
            live.push(handle);
            yield* cpu.g.poll();
            live.splice(live.indexOf(handle), 1);
            expect(yield* cpu.unmap({ handle, slot: v })).toEqual([GNTST_okay]);
          }
        }),
      );
    },
    () => {
      const lists = freeLists(mapper.gt);
      expect(lists.flat().length).toBe(maptrackLimit(mapper.gt));
      expect([liveHandles(mapper.gt), REFS.map((r) => pinOf(granter.gt, r))]).toEqual([[], [0, 0]]);
      for (const i of [0, 1]) expect(stateOf(granter.frames[i] as Mfn)).toBe('ref 1 none 0');
      stolen += lists[1]?.length ?? 0;
      audited();
    },
  );
  expect(stolen).toBeGreaterThan(100);
});
