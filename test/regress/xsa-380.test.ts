/**
 * XSA-380 and XSA-394. A domain that dies leaves grants mapped. They were released by walking all handles there can be, for each
 * of them whether it was in use or not, without a pause: minutes for a large table, with a CPU stuck. The fix kept a number
 * of mappings, so that the walk could be left out when there were none; and that number went down at each half of a map that was
 * undone, twice for one handle. A dying domain with mappings left then released none of them, and the granters' pages
 * stayed in use for ever: XSA-394. The attack: map host and device, undo them one by one, keep something else mapped, die.
 *
 * Fixed: the walk is interrupted after every page of handles and goes on from there, and a handle counts as gone
 * when its last half is ([X54], [X64]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '8';
});

import { ERESTART } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly, GNTST_okay } from '../../src/abi/grant.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { MAPTRACK_PER_CHUNK } from '../../src/hypervisor/grant/table.js';
import { renewQuantum } from '../../src/hypervisor/preempt.js';
import { CONTROL } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, on, type Dom, type Guest, type MapResult } from '../hypervisor/grant/lab.js';
import { claimsOf, liveHandles, maptrackLimit, pinOf } from '../hypervisor/grant/tables.js';
import { audited, stateOf } from './attack.js';

const REFS = [8, 9, 10, 11];
const BATCH = 60;
let granter: Dom;
let mapper: Dom;
let c: Guest;
beforeEach(() => {
  boot({ quantum: 1 });
  granter = makeDom({ domid: 1 });
  mapper = makeDom({ domid: 2, maxMaptrackFrames: 3 });
  c = mapper.cpus[0] as Guest;
  for (const [i, ref] of REFS.entries()) grant(granter, ref, 2, granter.frames[i] as Mfn);
});

/** Maps `n` times round the references, into slots from `slot` on. */
function map(n: number, slot: number, flags: number): MapResult[] {
  const ops = Array.from({ length: n }, (_, i) => ({ dom: 1, ref: REFS[i % 4] as number, flags, slot: slot + i }));
  const out: MapResult[] = [];
  while (ops.length > 0) out.push(...on(c, () => c.map(...ops.splice(0, BATCH))));
  expect(new Set(out.map((m) => m.status))).toEqual(new Set([GNTST_okay]));
  return out;
}
/** Destroys the mapper; answers the number of handles still there after each part. */
function destroy(): number[] {
  const left: number[] = [];
  for (;;) {
    renewQuantum(CONTROL);
    const before = maptrackLimit(mapper.gt);
    const rc = run(() => destroyDomain(CONTROL, mapper.d));
    if (rc !== -ERESTART) {
      expect(rc).toBe(0);
      return left;
    }
    left.push(before - maptrackLimit(mapper.gt));
  }
}
function released(): void {
  for (const [i, ref] of REFS.entries()) {
    expect([pinOf(granter.gt, ref), claimsOf(granter.gt, ref)]).toEqual([0, 0]);
    expect(stateOf(granter.frames[i] as Mfn)).toBe('ref 1 none 0');
  }
  audited();
}

test('maps undone one half at a time do not hide the mappings that are left', () => {
  const both = map(20, 0, GNTMAP_host_map | GNTMAP_device_map);
  const others = map(12, 100, GNTMAP_host_map);
  for (const [i, m] of both.entries()) {
    const { handle, dev } = m;
    expect(on(c, () => c.unmap({ handle, slot: i }))).toEqual([GNTST_okay]);
    // Half of them are undone in full, the others keep the device's half.
    if (i % 2 === 0) expect(on(c, () => c.unmap({ handle, dev }))).toEqual([GNTST_okay]);
  }
  expect(liveHandles(mapper.gt)).toHaveLength(10 + others.length);
  destroy();
  released();
});

test('handles are released in parts, a page of them at a time', () => {
  const readonly = GNTMAP_host_map | GNTMAP_readonly;
  for (let n = 0; n < 2 * MAPTRACK_PER_CHUNK - 40; n += 118) map(118, n % 472, readonly);
  expect(maptrackLimit(mapper.gt)).toBe(2 * MAPTRACK_PER_CHUNK);
  const parts = destroy();
  expect(Math.max(...parts)).toBe(MAPTRACK_PER_CHUNK);
  released();
});
