/**
 * A page given to the balloon is forgotten by every vCPU's TLB (found by the soak: table pages taken from the balloon lost
 * entries that another vCPU stored through its stale translation of the direct map).
 */
import { expect, test } from 'vitest';
import { run } from '../../src/sync/primitives.js';
import { balloonIn, balloonOut } from '../../guests/drivers/balloon.js';
import { allocZeroedPage } from '../../guests/kernel/alloc.js';
import { directVa } from '../../guests/kernel/layout.js';
import { releasePage } from '../../guests/kernel/lru.js';
import { pfnToMfn } from '../../guests/kernel/p2m.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';

test('what a second vCPU stores at a page that came back from the balloon lands in its new frame', () => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain({ vcpus: 2 });
    const c = yield* bootVcpu(d, 0);
    const other = yield* bootVcpu(d, 1);
    const pfn = yield* allocZeroedPage(c);
    const before = yield* pfnToMfn(c, pfn);
    yield* other.g.store(directVa(pfn), 1, 0); // its TLB knows the page now
    yield* d.vcpus[1]!.park();
    yield* releasePage(c, pfn);
    expect(yield* balloonOut(c)).toBe(true); // the page freed last goes first
    const taken: number[] = [];
    for (let i = 0; i < 4; i++) taken.push(yield* allocZeroedPage(c));
    expect(yield* balloonIn(c)).toBe(true);
    expect(yield* allocZeroedPage(c)).toBe(pfn);
    expect(taken).not.toContain(pfn);
    expect(yield* pfnToMfn(c, pfn)).not.toBe(-1);
    yield* d.vcpus[1]!.start();
    yield* other.g.store(directVa(pfn), 7, 8);
    expect([yield* c.g.load(directVa(pfn)), before === (yield* pfnToMfn(c, pfn))]).toEqual([7, false]);
  });
});
