/** A batch of mmu_update requests leaves what the same requests leave one by one, and counts as many as done. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DOMID_SELF, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_mmu_update } from '../../src/abi/hypercall.js';
import { entryLo } from '../../src/abi/pte.js';
import { FRAME_TABLE, FRAME_WORDS, FRAMES } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import { run } from '../../src/sync/primitives.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { bootGuest, DATA, DATA2, kernelVa, Noted, processor, type Image } from './guest.js';

interface Request {
  /** Entry of the kernel's L1, which is in use; from 40 on empty at first. */
  readonly index: number;
  /** Which frame, by what is interesting about it. */
  readonly frame: number;
  readonly flags: number;
  readonly hi: number;
  readonly command: number;
  /** 1: an entry of the user's L1 instead. */
  readonly other: number;
}

const request: fc.Arbitrary<Request> = fc.record({
  index: fc.integer({ min: 40, max: 47 }),
  frame: fc.oneof({ weight: 20, arbitrary: fc.integer({ min: 0, max: 3 }) }, fc.integer({ min: 4, max: 8 })),
  flags: fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom(0, 0x61, 0x63, 0x65, 0x67, 0x5a, 0xe67) },
    fc.constant(0x87),
  ),
  hi: fc.constantFrom(0, 0, 0, 1 << 31, 0x00200000),
  command: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, fc.constantFrom(2, 3, 4)),
  other: fc.oneof({ weight: 15, arbitrary: fc.constant(0) }, fc.constant(1)),
});

/** A spare frame, a table, one beyond memory, I/O memory, one of the guest's own data pages. */
function frameOf(image: Image, n: number): Mfn {
  if (n < 4) return image.spare.at(-1 - n) as Mfn;
  return [image.l1, image.l2, FRAMES as Mfn, 0 as Mfn, image.page(DATA2)][n - 4] as Mfn;
}

const tableState = (image: Image): string =>
  [
    ...words.slice(mfnWord(image.l1), mfnWord(image.l1) + 1024),
    ...words.slice(mfnWord(image.userL1), mfnWord(image.userL1) + 1024),
    ...words.slice(FRAME_TABLE, FRAME_TABLE + FRAMES * FRAME_WORDS).map((w, i) => (i % FRAME_WORDS === 3 ? 0 : w)),
  ].join();

/** Makes the requests, `batch` per call; answers what the last call answered and how many were done. */
function update(g: Vcpu, image: Image, requests: readonly Request[], batch: number): string {
  let rc = 0;
  let done = 0;
  run(function* () {
    for (let i = 0; i < requests.length && rc === 0; i += batch) {
      const part = requests.slice(i, i + batch);
      for (const [k, r] of part.entries()) {
        const l1 = r.other === 0 ? image.l1 : image.userL1;
        yield* g.store(kernelVa(DATA, 16 * k), (l1 << 12) | (8 * r.index) | r.command, 0);
        yield* g.store(kernelVa(DATA, 16 * k + 8), entryLo(frameOf(image, r.frame), r.flags), r.hi);
      }
      yield* g.store32(kernelVa(DATA, 4000), 0);
      g.argVa(0, kernelVa(DATA));
      g.arg(1, part.length, 0);
      g.argVa(2, kernelVa(DATA, 4000));
      g.arg(3, DOMID_SELF, 0);
      rc = yield* g.hypercall(HYPERVISOR_mmu_update);
      done += yield* g.load32(kernelVa(DATA, 4000));
    }
  });
  return `${String(rc)} ${String(done)}`;
}

function outcome(requests: readonly Request[], batch: number): string {
  const image = bootGuest();
  const g = processor(image, 0, new Noted());
  run(function* () {
    yield* g.start();
  });
  return `${update(g, image, requests, batch)} ${tableState(image)}`;
}

describe('a batch of updates', () => {
  it('does what its requests do one by one, up to the first that fails', () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: 40 }), (requests) => {
        const single = outcome(requests, 1);
        expect(outcome(requests, 40) === single).toBe(true);
        expect(outcome(requests, 7) === single).toBe(true);
      }),
      { seed: 21, numRuns: 40 },
    );
  }, 60_000);
});
