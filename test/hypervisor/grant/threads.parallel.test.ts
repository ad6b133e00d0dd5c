/** Grants under real threads: vCPUs of one domain and of several map and unmap the same grants, more of them than cores. */
import { describe, expect, it } from 'vitest';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { arenaAlloc } from '../../../src/shm/arena.js';
import { globals } from '../../../src/hypervisor/globals.js';
import { CONTROL, cpuIndex } from '../../../src/sync/actor.js';
import { peek, run } from '../../../src/sync/primitives.js';
import { compileForThreads, runThreads } from '../../support/threads.js';
import { boot, grant, makeDom, slotEntry, type Dom } from './lab.js';
import { claimsOf, freeHandles, liveHandles, maptrackLimit, pinOf } from './tables.js';

const bodies = compileForThreads('test/hypervisor/grant/thread-bodies.ts');
const REFS = [8, 9, 10, 11, 12, 13, 14, 15];

function clean(granter: Dom, mappers: readonly Dom[]): void {
  for (const ref of REFS) expect([pinOf(granter.gt, ref), claimsOf(granter.gt, ref)]).toEqual([0, 0]);
  for (const mfn of granter.frames) {
    expect([peek(countInfo(mfn)) & PGC_count_mask, peek(typeInfo(mfn)) & PGT_count_mask]).toEqual([1, 0]);
  }
  for (const m of mappers) {
    expect(liveHandles(m.gt)).toEqual([]);
    expect(new Set(freeHandles(m.gt)).size).toBe(maptrackLimit(m.gt));
    for (let i = 0; i < 64; i++) expect(slotEntry(m, i)).toBe(0);
  }
}

describe('threads', () => {
  it.each([
    ['one domain of four vCPUs', [4]],
    ['two domains of two', [2, 2]],
    // Tried again when the threads never met: on a busy machine each may run in a slice of its own.
  ])('of %s map and unmap the same grants, and everything is given back', { retry: 9 }, async (_, vcpus) => {
    boot();
    const granter = makeDom({ domid: 1, frames: 8 });
    const mappers = vcpus.map((n, i) => makeDom({ domid: 2 + i, vcpus: n, maxMaptrackFrames: 1 }));
    const [to] = mappers;
    // Half of the grants are the first domain's; what the others try of them is refused.
    REFS.forEach((ref, i) => {
      grant(granter, ref, (mappers[i % mappers.length] ?? to)!.domid, granter.frames[i]!);
    });
    const gate = run(() => arenaAlloc(CONTROL, peek(globals.arena), 1));
    const total = vcpus.reduce((s, n) => s + n, 0);
    const rounds = 400;
    const args = mappers.flatMap((m) =>
      m.cpus.map((c, v) => [cpuIndex(c.g.cpu), c.argsMfn, v, 1, rounds, gate, total]),
    );
    const mapped = (await runThreads(bodies, 'mapAndUnmap', args)) as number[];
    expect(mapped.reduce((s, n) => s + n, 0)).toBeGreaterThan((total * rounds * 16) / 4);
    const overlaps = mappers.flatMap((m) => m.cpus.map((c) => peek(vcpu.nOverlaps(c.g.cpu))));
    expect(overlaps.reduce((s, n) => s + n, 0)).toBeGreaterThan(0);
    clean(granter, mappers);
  });
});
