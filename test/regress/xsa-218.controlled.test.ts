/**
 * XSA-218. Two races in the unmapping of grants. A grant mapped for the processor and for devices has one handle; two vCPUs
 * that each undid one half at once both found nothing left, and both freed the handle: the same number was then given out
 * twice. And the grant's use count went down before the flush that follows a batch of unmaps: the granter saw its page
 * free while another vCPU of the mapper could still write to it by a stale translation.
 *
 * Fixed: the handle is freed in the first pass, by whoever undoes the last half, under the granter's lock of the entry;
 * the use count goes down in the second pass, behind the flush ([X54], [I12]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTST_okay, GTF_reading, GTF_writing } from '../../src/abi/grant.js';
import { CONTROL } from '../../src/sync/actor.js';
import { ldOnce, peek, waitChange } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, on, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { claimsOf, entryWord, freeHandles, liveHandles, maptrackLimit, pinOf } from '../hypervisor/grant/tables.js';
import { audited, stateOf } from './attack.js';
import { life, schedules, type Body } from './schedules.js';

const REF = 8;
const CLAIMS = GTF_reading | GTF_writing;
let granter: Dom;
let mapper: Dom;
let frame: Mfn;
let first: Guest;
let second: Guest;
function build(): void {
  boot();
  granter = makeDom({ domid: 1 });
  mapper = makeDom({ domid: 2, vcpus: 2 });
  frame = granter.frames[0] as Mfn;
  [first, second] = mapper.cpus as [Guest, Guest];
  for (const ref of [REF, REF + 1]) grant(granter, ref, 2, frame);
}
beforeEach(build);

test('two vCPUs that undo the two halves of one map free its handle once', () => {
  let orders = 0;
  let before = '';
  schedules(
    () => {
      build();
      const flags = GNTMAP_host_map | GNTMAP_device_map;
      const [m] = on(first, () => first.map({ dom: 1, ref: REF, flags, slot: 0 }));
      const handle = m?.handle ?? -1;
      const order: number[] = [];
      return [{ slot: 0 }, { dev: m?.dev ?? 0 }].map((half, i) => {
        const c = mapper.cpus[i] as Guest;
        return life(c, function* () {
          expect(yield* c.unmap({ handle, ...half })).toEqual([GNTST_okay]);
          order.push(i);
          if (order.length === 2 && order.join() !== before) {
            before = order.join();
            orders++;
          }
        });
      });
    },
    () => {
      const free = freeHandles(mapper.gt);
      expect([new Set(free).size, free.length, liveHandles(mapper.gt)]).toEqual([
        maptrackLimit(mapper.gt),
        maptrackLimit(mapper.gt),
        [],
      ]);
      expect([pinOf(granter.gt, REF), claimsOf(granter.gt, REF), stateOf(frame)]).toEqual([0, 0, 'ref 1 none 0']);
      audited();
      // What a double free is good for: two maps of one number.
      const again = on(first, () =>
        first.map(
          { dom: 1, ref: REF, flags: GNTMAP_host_map, slot: 0 },
          { dom: 1, ref: REF + 1, flags: GNTMAP_host_map, slot: 1 },
        ),
      );
      expect(again[0]?.handle).not.toBe(again[1]?.handle);
      audited();
    },
  );
  expect(orders).toBeGreaterThan(1);
});

test('the granter sees its page free only when no vCPU of the mapper can write to it', () => {
  let late = 0;
  let raced = 0;
  /** What the page held when the granter saw it free. */
  let taken: number | undefined;
  let stores = 0;
  schedules(
    (): Body[] => {
      build();
      taken = undefined;
      stores = 0;
      const [m] = on(first, () => first.map({ dom: 1, ref: REF, flags: GNTMAP_host_map, slot: 0 }));
      return [
        life(first, function* () {
          expect(yield* first.unmap({ handle: m?.handle ?? -1, slot: 0 })).toEqual([GNTST_okay]);
        }),
        life(second, function* () {
          for (let n = 1; n < 40; n++) {
            yield* second.g.store32(slotVa(0), n);
            if (second.g.faulted()) return;
            stores = n;
            yield* second.g.poll();
          }
        }),
        function* () {
          const at = entryWord(granter.gt, REF);
          for (let v = yield* ldOnce(at); (v & CLAIMS) !== 0; v = yield* ldOnce(at)) yield* waitChange(CONTROL, at, v);
          taken = peek(mfnWord(frame));
        },
      ];
    },
    () => {
      if (stores > 0 && stores < 39) raced++;
      expect(taken).toBe(stores);
      audited();
    },
    { walks: 120 },
    () => {
      if (taken !== undefined && peek(mfnWord(frame)) !== taken) late++;
    },
  );
  expect(late).toBe(0);
  expect(raced).toBeGreaterThan(10);
});
