import { expect, test } from 'vitest';
import { peek, run } from '../../src/sync/primitives.js';
import { kernel } from '../../guests/kernel/records.js';
import { WARN } from '../../guests/kernel/counters.js';
import { warned } from '../../guests/kernel/count.js';
import { image } from '../../guests/kernel/domain-image.js';
import { allocZeroedPage, freePage, putPageTest } from '../../guests/kernel/alloc.js';
import { mfnToPfn, pfnToMfn } from '../../guests/kernel/p2m.js';
import { directVa } from '../../guests/kernel/layout.js';
import { bootMachine, bootVcpu, makeDomain } from './machine.js';

test('a kernel boots on the tables its builder laid, pinned, and finds its frames both ways', () => {
  bootMachine();
  run(function* () {
    const d = yield* makeDomain();
    const c = yield* bootVcpu(d);
    expect(peek(kernel.ready(c.k))).toBe(1);
    const pfn = yield* allocZeroedPage(c);
    expect(pfn).toBe(image.firstFree(d.params.spec));
    yield* c.g.store(directVa(pfn), 17, 18);
    expect(yield* c.g.load(directVa(pfn))).toBe(17);
    expect(yield* mfnToPfn(c, yield* pfnToMfn(c, pfn))).toBe(pfn);
    if (yield* putPageTest(c, pfn)) yield* freePage(c, pfn);
    expect(yield* allocZeroedPage(c)).toBe(pfn);
    for (const kind of Object.values(WARN)) expect(warned(c.k, kind)).toBe(0);
  });
});
