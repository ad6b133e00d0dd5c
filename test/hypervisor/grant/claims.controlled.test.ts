/**
 * A claim against a revoke, under schedules: the two never both win. Each has a twin that does it in the wrong order, which
 * the same walk must catch.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';

// Many short executions: the smallest machine boots fastest.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { type Va } from '../../../src/abi/frames.js';
import * as gnt from '../../../src/abi/grant.js';
import { grantTable } from '../../../src/hypervisor/grant/table.js';
import { actor, cpuAt } from '../../../src/sync/actor.js';
import { peek, poke } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { boot, grant, GRANTS_VA, makeDom, on, slotVa, type Dom, type Guest } from './lab.js';
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

/** No lock is left, no pin without a handle, no handle lost. */
function atRest(): void {
  for (let i = 0; i < 9; i++) expect(peek(actor.heldCount(cpuAt(i)))).toBe(0);
  expect(pinOf(granter.gt, REF)).toBe(liveHandles(mapper.gt).length);
  expect(freeHandles(mapper.gt).length + liveHandles(mapper.gt).length).toBe(maptrackLimit(mapper.gt));
}

describe('a claim and a revoke of a version 1 entry', () => {
  const ENTRY = (GRANTS_VA + REF * 8) as Va;
  let revoked: boolean;
  let mapped: boolean;

  /** As a kernel ends foreign access: busy when in use, else the flags go from what was seen to 0, at once. */
  function* revoke(g: Guest['g']): Steps<void> {
    for (;;) {
      const flags = yield* g.load16(ENTRY);
      if ((flags & CLAIMS) !== 0) return;
      if ((yield* g.cmpxchg16(ENTRY, flags, 0)) === 0) continue;
      revoked = true;
      return;
    }
  }
  function* revokeWrongly(g: Guest['g']): Steps<void> {
    if (((yield* g.load16(ENTRY)) & CLAIMS) !== 0) return;
    yield* g.store16(ENTRY, 0);
    revoked = true;
  }
  const make = (end: (g: Guest['g']) => Steps<void>) => (): Body[] => {
    build();
    revoked = false;
    mapped = false;
    const m = mapper.cpus[0]!;
    return [
      life(m, function* () {
        const [r] = yield* m.map({ dom: 1, ref: REF, flags: RW, slot: 0 });
        mapped = r!.status === gnt.GNTST_okay;
      }),
      life(granter.cpus[0]!, function* () {
        yield* end(granter.cpus[0]!.g);
      }),
    ];
  };

  it('have exactly one winner in every schedule', () => {
    const winners = new Set<string>();
    everySwitch(make(revoke), () => {
      expect(mapped).not.toBe(revoked);
      expect(claimsOf(granter.gt, REF)).toBe(mapped ? CLAIMS : 0);
    });
    walk(150, make(revoke), () => {
      expect(mapped).not.toBe(revoked);
      winners.add(mapped ? 'claim' : 'revoke');
      atRest();
      expect(claimsOf(granter.gt, REF)).toBe(mapped ? CLAIMS : 0);
    });
    expect(winners.size).toBe(2);
  });

  it('both win sometimes when the granter checks and stores in two steps', () => {
    let both = 0;
    walk(400, make(revokeWrongly), () => {
      if (mapped && revoked) both++;
    });
    expect(both).toBeGreaterThan(0);
  });
});

describe('a claim and a revoke of a version 2 entry', () => {
  const ENTRY = (GRANTS_VA + REF * 16) as Va;
  const STATUS = (slotVa(5) + REF * 2) as Va;
  let free: boolean;
  let mapped: boolean;

  /** Flags first, then the status: no new claim can start, and an old one is seen. */
  function* revoke(g: Guest['g']): Steps<void> {
    yield* g.store16(ENTRY, 0);
    free = ((yield* g.load16(STATUS)) & CLAIMS) === 0;
  }
  function* revokeWrongly(g: Guest['g']): Steps<void> {
    const status = yield* g.load16(STATUS);
    if ((status & CLAIMS) !== 0) return;
    yield* g.store16(ENTRY, 0);
    free = true;
  }
  const make = (end: (g: Guest['g']) => Steps<void>) => (): Body[] => {
    build();
    free = false;
    mapped = false;
    const c = granter.cpus[0]!;
    on(c, function* () {
      c.put(0, 2);
      expect(yield* c.grantOp(gnt.GNTTABOP_set_version, 1)).toBe(0);
      const status = peek(peek(grantTable.statusList(granter.gt)));
      expect(yield* c.updateVa(slotVa(5), (status << 12) | 0x67)).toBe(0);
      yield* c.g.store16(STATUS, 0);
    });
    const at = entryWord(granter.gt, REF);
    poke(at + 2, granter.frames[0]!);
    poke(at, gnt.GTF_permit_access | (2 << 16));
    const m = mapper.cpus[0]!;
    return [
      life(m, function* () {
        const [r] = yield* m.map({ dom: 1, ref: REF, flags: RW, slot: 0 });
        mapped = r!.status === gnt.GNTST_okay;
      }),
      life(c, function* () {
        yield* end(c.g);
      }),
    ];
  };

  it('never both win, and what a claim that lost had set is taken back', () => {
    const seen = new Set<string>();
    everySwitch(make(revoke), () => {
      expect(mapped && free).toBe(false);
      expect(claimsOf(granter.gt, REF)).toBe(mapped ? CLAIMS : 0);
    });
    walk(150, make(revoke), () => {
      expect(mapped && free).toBe(false);
      seen.add(`${String(mapped)} ${String(free)}`);
      atRest();
      expect(claimsOf(granter.gt, REF)).toBe(mapped ? CLAIMS : 0);
    });
    expect(seen.has('true false') && seen.has('false true')).toBe(true);
  });

  it('both win sometimes when the granter looks before it closes', () => {
    let both = 0;
    walk(400, make(revokeWrongly), () => {
      if (mapped && free) both++;
    });
    expect(both).toBeGreaterThan(0);
  });
});
