/**
 * What lives longer than one grant, under schedules: handles, domains that die, a table that changes version.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';

// Many short executions: the smallest machine boots fastest.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import * as gnt from '../../../src/abi/grant.js';
import { destroyDomain } from '../../../src/hypervisor/domctl.js';
import { domain, findDomain } from '../../../src/hypervisor/domain.js';
import { putMaptrackHandle, getMaptrackHandle, NO_HANDLE } from '../../../src/hypervisor/grant/maptrack.js';
import { grantTable } from '../../../src/hypervisor/grant/table.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { CONTROL } from '../../../src/sync/actor.js';
import { ldOnce, peek, run } from '../../../src/sync/primitives.js';
import { boot, grant, makeDom, type Dom } from './lab.js';
import { claimsOf, entryWord, freeHandles, liveHandles, maptrackLimit, pinOf } from './tables.js';
import { life, walk } from './walks.js';

const RW = gnt.GNTMAP_host_map;
const REF = 8;

let granter: Dom;
let mapper: Dom;
const build = (): void => {
  boot();
  granter = makeDom({ domid: 1 });
  mapper = makeDom({ domid: 2, vcpus: 2 });
  grant(granter, REF, 2, granter.frames[0]!);
};
beforeEach(build);

const refs = (mfn: number): [number, number] => [
  peek(countInfo(mfn as never)) & PGC_count_mask,
  peek(typeInfo(mfn as never)) & PGT_count_mask,
];

describe('handles', () => {
  it('are each on one list or live when vCPUs take, steal and free at once (XSA-228)', () => {
    walk(
      150,
      () => {
        boot();
        mapper = makeDom({ domid: 2, vcpus: 3, maxMaptrackFrames: 1 });
        const taken: number[] = [];
        return [0, 1, 2].map((v) => {
          const { cpu } = mapper.cpus[v]!.g;
          return function* () {
            for (let n = 0; n < 12; n++) {
              // Two taken for one freed, and whose it was does not matter.
              const h = n % 3 === 2 ? taken.pop() : undefined;
              if (h !== undefined) yield* putMaptrackHandle(cpu, mapper.gt, h);
              else {
                const got = yield* getMaptrackHandle(cpu, mapper.gt, v);
                if (got !== NO_HANDLE) taken.push(got);
              }
            }
            for (let h = taken.pop(); h !== undefined; h = taken.pop()) {
              yield* putMaptrackHandle(cpu, mapper.gt, h);
            }
          };
        });
      },
      () => {
        const free = freeHandles(mapper.gt);
        expect(new Set(free).size).toBe(free.length);
        expect(free.length).toBe(maptrackLimit(mapper.gt));
      },
    );
  });
});

describe('death', () => {
  it('of the granter leaves mappers with consistent handles, or without a domain to unmap from', () => {
    const ends = new Set<string>();
    walk(
      200,
      () => {
        build();
        const c = mapper.cpus[0]!;
        return [
          life(c, function* () {
            for (let n = 0; n < 2; n++) {
              const [r] = yield* c.map({ dom: 1, ref: REF, flags: RW, slot: n });
              ends.add(`map ${String(r!.status)}`);
              if (r!.status !== gnt.GNTST_okay) continue;
              const [s] = yield* c.unmap({ handle: r!.handle, slot: n });
              ends.add(`unmap ${String(s)}`);
            }
          }),
          function* () {
            expect(yield* destroyDomain(CONTROL, granter.d)).toBe(0);
          },
        ];
      },
      () => {
        expect(liveHandles(mapper.gt)).toEqual([]);
        expect(freeHandles(mapper.gt).length).toBe(maptrackLimit(mapper.gt));
        expect(run(() => findDomain(1))).toBe(0);
      },
    );
    expect([...ends].sort()).toEqual(['map -2', 'map -9', 'map 0', 'unmap 0']);
  });

  it('of the mapper gives back every pin, bit and reference, whatever it was doing', () => {
    const live = new Set<number>();
    walk(
      200,
      () => {
        build();
        const c = mapper.cpus[0]!;
        return [
          life(c, function* () {
            const both = RW | gnt.GNTMAP_device_map;
            const maps = [0, 1, 2].map((slot) => ({ dom: 1, ref: REF, flags: slot === 2 ? both : RW, slot }));
            const results = yield* c.map(...maps);
            yield* c.unmap({ handle: results[0]!.handle, slot: 0 }, { handle: results[1]!.handle, slot: 1 });
          }),
          function* () {
            for (let n = 0; n < 20; n++) yield* ldOnce(domain.dying(mapper.d));
            live.add(liveHandles(mapper.gt).length);
            for (;;) if ((yield* destroyDomain(CONTROL, mapper.d)) === 0) return;
          },
        ];
      },
      () => {
        expect(run(() => findDomain(2))).toBe(0);
        expect([pinOf(granter.gt, REF), claimsOf(granter.gt, REF)]).toEqual([0, 0]);
        expect(refs(granter.frames[0]!)).toEqual([1, 0]);
      },
    );
    expect(live.size).toBeGreaterThan(1);
  });
});

describe('a change of version', () => {
  it('behind the back of a map that fails leaves no bit set in either version', () => {
    const seen = new Set<string>();
    walk(
      300,
      () => {
        build();
        // A reserved entry: those may be in use while the version changes.
        grant(granter, 3, 2, granter.frames[0]!);
        const m = mapper.cpus[0]!;
        const c = granter.cpus[0]!;
        return [
          life(m, function* () {
            // Pins, then fails: no page-table entry is at that address.
            const [r] = yield* m.map({ dom: 1, ref: 3, flags: RW | gnt.GNTMAP_contains_pte, pte: 4 });
            expect(r!.status).toBe(gnt.GNTST_general_error);
          }),
          life(c, function* () {
            c.put(0, 2);
            seen.add(String(yield* c.grantOp(gnt.GNTTABOP_set_version, 1)));
            c.put(0, 1);
            seen.add(String(yield* c.grantOp(gnt.GNTTABOP_set_version, 1)));
          }),
        ];
      },
      () => {
        expect(peek(grantTable.version(granter.gt))).toBe(1);
        expect([pinOf(granter.gt, 3), claimsOf(granter.gt, 3)]).toEqual([0, 0]);
        expect(peek(entryWord(granter.gt, 3))).toBe(gnt.GTF_permit_access | (2 << 16));
        expect(refs(granter.frames[0]!)).toEqual([1, 0]);
      },
    );
    expect(seen).toEqual(new Set(['0']));
  });
});
