/**
 * Grants in use, under schedules: unmap against use and against unmap, copies against maps and versions.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';

// Many short executions: the smallest machine boots fastest.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { DOMID_SELF, mfnWord, vaHi, vaLo } from '../../../src/abi/frames.js';
import { EAGAIN } from '../../../src/abi/errno.js';
import * as gnt from '../../../src/abi/grant.js';
import { unmapStateAt } from '../../../src/hypervisor/grant/scratch.js';
import { grantTable } from '../../../src/hypervisor/grant/table.js';
import { unmapCommon, unmapCommonComplete } from '../../../src/hypervisor/grant/unmap.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { actor, CONTROL, cpuAt } from '../../../src/sync/actor.js';
import { ldOnce, peek, poke, waitChange } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { boot, copyOp, grant, makeDom, on, setVersion, slotVa, type Dom, type Guest } from './lab.js';
import { claimsOf, entryWord, freeHandles, liveHandles, maptrackLimit, pinOf } from './tables.js';
import { everySwitch, life, walk, type Body } from './walks.js';

const RW = gnt.GNTMAP_host_map;
const REF = 8;
const CLAIMS = gnt.GTF_reading | gnt.GTF_writing;

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

/** No lock is left, no pin without a handle, no handle lost. */
function atRest(): void {
  for (let i = 0; i < 9; i++) expect(peek(actor.heldCount(cpuAt(i)))).toBe(0);
  expect(pinOf(granter.gt, REF)).toBe(liveHandles(mapper.gt).length);
  expect(freeHandles(mapper.gt).length + liveHandles(mapper.gt).length).toBe(maptrackLimit(mapper.gt));
}

describe('an unmap', () => {
  const word = (): number => mfnWord(granter.frames[0]!);
  let handle: number;
  /** What the granter found in its frame when it saw the grant free; undefined until then. */
  let taken: number | undefined;
  let late: number;

  /** The other vCPU of the mapper stores through the mapping until it faults. */
  const user = (): Body => {
    const c = mapper.cpus[1]!;
    return life(c, function* () {
      for (let n = 1; n < 40; n++) {
        yield* c.g.store32(slotVa(0), n);
        if (c.g.faulted()) return;
        yield* c.g.poll();
      }
    });
  };
  const owner = (): Body =>
    function* () {
      const at = entryWord(granter.gt, REF);
      for (let v = yield* ldOnce(at); (v & CLAIMS) !== 0; v = yield* ldOnce(at)) yield* waitChange(CONTROL, at, v);
      taken = peek(word());
    };
  const make = (unmap: (c: Guest) => Steps<void>) => (): Body[] => {
    build();
    taken = undefined;
    const c = mapper.cpus[0]!;
    handle = on(c, () => c.map({ dom: 1, ref: REF, flags: RW, slot: 0 }))[0]!.handle;
    return [life(c, () => unmap(c)), user(), owner()];
  };
  const watch = (): void => {
    if (taken !== undefined && peek(word()) !== taken) late++;
  };
  beforeEach(() => {
    late = 0;
  });

  it('lets the granter see the grant free only when no vCPU can reach the frame any more', () => {
    const proper = function* (c: Guest): Steps<void> {
      expect(yield* c.unmap({ handle, slot: 0 })).toEqual([gnt.GNTST_okay]);
    };
    walk(300, make(proper), atRest, watch);
    expect(late).toBe(0);
  });

  it('without its flush leaves a window, and the walk finds it', () => {
    const unflushed = function* (c: Guest): Steps<void> {
      const { cpu } = c.g;
      const op = vcpu.copied(cpu);
      const va = slotVa(0);
      [vaLo(va), vaHi(va), 0, 0, handle, 0].forEach((v, i) => {
        poke(op + i, v);
      });
      yield* unmapCommon(cpu, op, false, unmapStateAt(cpu, 0));
      yield* unmapCommonComplete(cpu, unmapStateAt(cpu, 0));
    };
    walk(300, make(unflushed), () => undefined, watch);
    expect(late).toBeGreaterThan(0);
  });

  it('of one handle by two vCPUs succeeds once', () => {
    const statuses: number[] = [];
    const firsts = new Set<number>();
    walk(
      300,
      () => {
        build();
        statuses.length = 0;
        handle = on(mapper.cpus[0]!, () => mapper.cpus[0]!.map({ dom: 1, ref: REF, flags: RW, slot: 0 }))[0]!.handle;
        return mapper.cpus.map((c, i) =>
          life(c, function* () {
            const [s] = yield* c.unmap({ handle, slot: 0 });
            if (s === gnt.GNTST_okay) firsts.add(i);
            statuses.push(s!);
          }),
        );
      },
      () => {
        expect([...statuses].sort((a, b) => a - b)).toEqual([gnt.GNTST_bad_handle, gnt.GNTST_okay]);
        atRest();
        expect(refs(granter.frames[0]!)).toEqual([1, 0]);
      },
    );
    expect(firsts.size).toBe(2);
  });

  it('of the two halves of a map by two vCPUs frees the handle once (XSA-218)', () => {
    walk(
      300,
      () => {
        build();
        const flags = RW | gnt.GNTMAP_device_map;
        const [r] = on(mapper.cpus[0]!, () => mapper.cpus[0]!.map({ dom: 1, ref: REF, flags, slot: 0 }));
        return [{ slot: 0 }, { dev: r!.dev }].map((half, i) =>
          life(mapper.cpus[i]!, function* () {
            expect(yield* mapper.cpus[i]!.unmap({ handle: r!.handle, ...half })).toEqual([gnt.GNTST_okay]);
          }),
        );
      },
      () => {
        atRest();
        expect([claimsOf(granter.gt, REF), refs(granter.frames[0]!)]).toEqual([0, [1, 0]]);
      },
    );
  });
});

describe('a grant of a part of a page', () => {
  const build2 = (): void => {
    build();
    expect(setVersion(granter, 2)).toBe(0);
    const at = entryWord(granter.gt, REF);
    poke(at + 1, 64 << 16);
    poke(at + 2, granter.frames[0]!);
    poke(at, gnt.GTF_permit_access | gnt.GTF_sub_page | (2 << 16));
  };
  const copier = (): Body => {
    const c = mapper.cpus[0]!;
    const source = { dom: 1, ref: REF, offset: 0 };
    return life(c, function* () {
      const dest = { dom: DOMID_SELF, mfn: mapper.frames[0]!, offset: 0 };
      expect(yield* copyOp(c, [{ source, dest, length: 64 }])).toEqual([gnt.GNTST_okay]);
    });
  };

  it('cannot be mapped, not even while a copy has it in use', () => {
    let met = 0;
    everySwitch(
      () => {
        build2();
        const m = mapper.cpus[1]!;
        const other = life(m, function* () {
          if (pinOf(granter.gt, REF) !== 0) met++;
          const [r] = yield* m.map({ dom: 1, ref: REF, flags: RW | gnt.GNTMAP_readonly, slot: 0 });
          expect(r!.status).toBe(gnt.GNTST_general_error);
        });
        return [copier(), other];
      },
      () => {
        expect([pinOf(granter.gt, REF), claimsOf(granter.gt, REF), peek(grantTable.nrV2Ops(granter.gt))]).toEqual([
          0, 0, 0,
        ]);
        expect(refs(granter.frames[0]!)).toEqual([1, 0]);
      },
    );
    expect(met).toBeGreaterThan(0);
  });

  it('keeps the table at version 2 while it is in use', () => {
    const seen = new Set<number>();
    everySwitch(
      () => {
        build2();
        const c = granter.cpus[0]!;
        // One of the reserved entries, which alone does not keep the version.
        const from = entryWord(granter.gt, REF);
        const to = entryWord(granter.gt, 2);
        for (let i = 3; i >= 0; i--) poke(to + i, peek(from + i));
        const m = mapper.cpus[0]!;
        const source = { dom: 1, ref: 2, offset: 0 };
        const copying = life(m, function* () {
          yield* copyOp(m, [{ source, dest: { dom: DOMID_SELF, mfn: mapper.frames[0]!, offset: 0 }, length: 64 }]);
        });
        return [
          copying,
          life(c, function* () {
            c.put(0, 1);
            seen.add(yield* c.grantOp(gnt.GNTTABOP_set_version, 1));
          }),
        ];
      },
      () => {
        expect([pinOf(granter.gt, 2), claimsOf(granter.gt, 2), peek(grantTable.nrV2Ops(granter.gt))]).toEqual([
          0, 0, 0,
        ]);
        expect(refs(granter.frames[0]!)).toEqual([1, 0]);
      },
    );
    expect(seen).toEqual(new Set([0, -EAGAIN]));
  });
});

describe('a copy through another domain’s grant', () => {
  it('is tried again when the entry changes under it, and nothing is left behind', () => {
    const statuses = new Set<number>();
    let behind: Dom;
    let before = 0;
    let retries = 0;
    const continuations = (): number => mapper.cpus.reduce((sum, c) => sum + peek(vcpu.nContinuations(c.g.cpu)), 0);
    const make = (): Body[] => {
      build();
      behind = makeDom({ domid: 3 });
      expect([setVersion(granter, 2), setVersion(behind, 2)]).toEqual([0, 0]);
      for (const [d, flags, second, third] of [
        [granter, gnt.GTF_transitive | (2 << 16), 3, 9],
        [behind, gnt.GTF_permit_access | (1 << 16), 0, behind.frames[0]!],
      ] as const) {
        const at = entryWord(d.gt, d === granter ? REF : 9);
        poke(at + 1, second);
        poke(at + 2, third);
        poke(at, flags);
      }
      before = continuations();
      return [0, 1].map((v) => {
        const c = mapper.cpus[v]!;
        const dest = { dom: DOMID_SELF, mfn: mapper.frames[v]!, offset: 0 };
        return life(c, function* () {
          const [s] = yield* copyOp(c, [{ source: { dom: 1, ref: REF, offset: 0 }, dest, length: 8 }]);
          statuses.add(s!);
        });
      });
    };
    const look = (): void => {
      for (const [d, ref] of [
        [granter, REF],
        [behind, 9],
      ] as const) {
        expect([pinOf(d.gt, ref), claimsOf(d.gt, ref), peek(grantTable.nrV2Ops(d.gt))]).toEqual([0, 0, 0]);
      }
      expect(refs(behind.frames[0]!)).toEqual([1, 0]);
      retries += continuations() - before;
    };
    everySwitch(make, look);
    walk(150, make, look);
    expect(statuses).toEqual(new Set([gnt.GNTST_okay]));
    expect(retries).toBeGreaterThan(0);
  });
});
