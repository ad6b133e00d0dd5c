/** Handles: every one has exactly one owner, whatever the order of taking, freeing, growing and stealing ([I14]). */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { arenaAvailable } from '../../../src/shm/arena.js';
import { hypervisorBoot } from '../../../src/hypervisor/boot.js';
import { domain, domainSlot } from '../../../src/hypervisor/domain.js';
import { globals } from '../../../src/hypervisor/globals.js';
import { grantTableInit } from '../../../src/hypervisor/grant/grow.js';
import {
  getMaptrackHandle,
  mapping,
  maptrackEntry,
  NO_HANDLE,
  putMaptrackHandle,
} from '../../../src/hypervisor/grant/maptrack.js';
import { MAPTRACK_PER_CHUNK, type GrantTable } from '../../../src/hypervisor/grant/table.js';
import { CONTROL, cpuAt } from '../../../src/sync/actor.js';
import { peek, poke, run } from '../../../src/sync/primitives.js';
import { freeHandles, freeLists, liveHandles, maptrackLimit } from './tables.js';

const D = domainSlot(0);
let gt = 0 as GrantTable;

function table(vcpus: number, maptrackFrames: number): void {
  hypervisorBoot({});
  poke(domain.refcnt(D), 1);
  const options = { maxGrantFrames: 1, maxMaptrackFrames: maptrackFrames, maxVersion: 2, vcpus };
  expect(run(() => grantTableInit(CONTROL, D, options))).toBe(0);
  gt = peek(domain.grantTable(D)) as GrantTable;
}
beforeEach(() => {
  table(1, 4);
});

const take = (vcpu = 0): number => run(() => getMaptrackHandle(cpuAt(1 + vcpu), gt, vcpu));
const give = (handle: number, vcpu = 0): void => {
  run(() => putMaptrackHandle(cpuAt(1 + vcpu), gt, handle));
};
/** Marks the handle live or dead as map and unmap do. */
const mark = (handle: number, flags: number): void => {
  poke(mapping.flags(maptrackEntry(gt, handle)), flags);
};

describe('handles', () => {
  it('begin at 0, which is valid, and follow in order', () => {
    expect([take(), take(), take()]).toEqual([0, 1, 2]);
  });

  it('are handed out again in the order in which they were freed, after all fresh ones', () => {
    const first = Array.from({ length: MAPTRACK_PER_CHUNK - 1 }, () => take());
    expect(new Set(first).size).toBe(MAPTRACK_PER_CHUNK - 1);
    give(7);
    give(3);
    expect(take()).toBe(MAPTRACK_PER_CHUNK - 1);
    expect(take()).toBe(7);
  });

  it('are refused with ~0 when every frame of the maptrack is used, and nothing is lost by it', () => {
    const all: number[] = [];
    for (let h = take(); h !== NO_HANDLE; h = take()) all.push(h);
    // One entry of the only list is always kept back.
    expect(all).toHaveLength(4 * MAPTRACK_PER_CHUNK - 1);
    expect(take()).toBe(NO_HANDLE);
    expect(freeHandles(gt)).toHaveLength(1);
    for (const h of all) give(h);
    expect(new Set(freeHandles(gt)).size).toBe(4 * MAPTRACK_PER_CHUNK);
    expect(take()).not.toBe(NO_HANDLE);
  });

  it('are refused at once where the domain may have no maptrack at all', () => {
    table(1, 0);
    expect(take()).toBe(NO_HANDLE);
    expect(maptrackLimit(gt)).toBe(0);
  });

  it('are stolen from another vCPU when the maptrack cannot grow, one more to be kept back', () => {
    table(2, 1);
    expect(take(0)).toBe(0);
    const stolen = take(1);
    expect(stolen).not.toBe(NO_HANDLE);
    // vCPU 1 keeps one entry; what it stole comes back to its own list.
    give(stolen, 1);
    expect(freeLists(gt)[1]).toContain(stolen);
    expect(freeHandles(gt)).toHaveLength(MAPTRACK_PER_CHUNK - 1);
  });

  it('go back to the vCPU that took them, whoever frees them', () => {
    table(2, 4);
    const h = take(0);
    take(1);
    give(h, 1);
    expect(freeLists(gt)[0]).toContain(h);
    expect(freeLists(gt)[1]).not.toContain(h);
  });

  it('come out of the arena, and one chunk serves 256', () => {
    const before = arenaAvailable(peek(globals.arena));
    for (let i = 0; i < MAPTRACK_PER_CHUNK - 1; i++) take();
    expect(arenaAvailable(peek(globals.arena))).toBe(before - 1);
    take();
    take();
    expect(arenaAvailable(peek(globals.arena))).toBe(before - 2);
  });

  it('each have one owner after any program of takes and frees by several vCPUs', () => {
    const step = fc.oneof(
      fc.record({ take: fc.integer({ min: 0, max: 2 }), times: fc.integer({ min: 1, max: 150 }) }),
      fc.record({ free: fc.nat(), by: fc.integer({ min: 0, max: 2 }), times: fc.integer({ min: 1, max: 100 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
        table(3, 2);
        const live: number[] = [];
        for (const s of steps) {
          for (let n = 0; n < s.times; n++) {
            if ('take' in s) {
              const h = take(s.take);
              if (h === NO_HANDLE) continue;
              expect(live).not.toContain(h);
              mark(h, 2);
              live.push(h);
            } else if (live.length > 0) {
              const [h = 0] = live.splice(s.free % live.length, 1);
              mark(h, 0);
              give(h, s.by);
            }
          }
          const free = freeHandles(gt);
          expect(new Set(free).size).toBe(free.length);
          expect(new Set(liveHandles(gt))).toEqual(new Set(live));
          expect(free.length + live.length).toBe(maptrackLimit(gt));
        }
      }),
      { numRuns: 60 },
    );
  });
});
