/** The injected delay `flush.late`: the vCPU goes on through its old entry while whoever asked waits. */
import { beforeEach, describe, expect, it } from 'vitest';
import { mfnWord } from '../../src/abi/frames.js';
import { interleave } from '../../src/explore/loop.js';
import { randomWalk } from '../../src/explore/random-walk.js';
import { faultCounts, faultInit, faultPlan } from '../../src/fault/plan.js';
import { flushMask, maskHi, maskLo } from '../../src/machine/flush.js';
import { ARENA, ARENA_CHUNKS } from '../../src/machine/layout.js';
import { words } from '../../src/ops/memory.js';
import type { Cpu } from '../../src/sync/actor.js';
import { CONTROL } from '../../src/sync/actor.js';
import { run, st64, stOnce } from '../../src/sync/primitives.js';
import type { Vcpu } from '../../src/vcpu/guest-cpu.js';
import { bootGuest, Noted, processor, userVa, type Image } from './guest.js';

const FAULTS = ARENA + (ARENA_CHUNKS - 1) * 1024;
const POISON = 0x7fffdead;
let image: Image;
let g: Vcpu;
let slot: number;

beforeEach(() => {
  image = bootGuest();
  g = processor(image, 0, new Noted());
  slot = mfnWord(image.userL1) + 2;
  run(function* () {
    yield* g.start();
    yield* g.load32(userVa(1));
  });
  faultInit(FAULTS);
});

/** Reads `n` times while the control plane takes the page away; answers what was read, and how the run ended. */
function race(n: number, seed: number): { read: number[]; kind: string; flushedAt: number } {
  const read: number[] = [];
  let flushedAt = -1;
  const o = interleave(
    [
      function* () {
        yield* st64(slot, 0, 0);
        yield* flushMask(CONTROL, maskLo(image.cpus[0] as Cpu), maskHi(image.cpus[0] as Cpu));
        flushedAt = read.length;
        yield* stOnce(mfnWord(image.userPage), POISON);
      },
      function* () {
        for (let i = 0; i < n; i++) {
          read.push(yield* g.load32(userVa(1)));
          if (g.faulted()) read[read.length - 1] = -1;
        }
        yield* g.halt();
      },
    ],
    randomWalk(seed),
  );
  return { read, kind: o.kind, flushedAt };
}

describe('a late flush', () => {
  it('lets the vCPU read on through the old entry, but never after the flush was reported done', () => {
    let longest = 0;
    for (let seed = 1; seed <= 60; seed++) {
      words[slot] = (image.userPage << 12) | 0x167;
      words[mfnWord(image.userPage)] = 0;
      run(function* () {
        yield* g.start();
        yield* g.load32(userVa(1));
      });
      faultPlan('flush.late', { status: 5 });
      const { read, kind, flushedAt } = race(20, seed);
      expect(kind).toBe('done');
      expect(read).not.toContain(POISON);
      expect(read.slice(flushedAt).filter((x) => x !== -1).length).toBeLessThanOrEqual(1);
      if (faultCounts('flush.late').hits > 0) longest = Math.max(longest, flushedAt);
    }
    expect(longest).toBeGreaterThan(5);
  });

  it('happens once per request, and is over when the vCPU leaves guest mode', () => {
    faultPlan('flush.late', { status: 1000 });
    const reads: number[] = [];
    const o = interleave(
      [
        function* () {
          yield* flushMask(CONTROL, maskLo(image.cpus[0] as Cpu), maskHi(image.cpus[0] as Cpu));
        },
        function* () {
          for (let i = 0; i < 10; i++) reads.push(yield* g.load32(userVa(1)));
          yield* g.hypercall(63);
        },
      ],
      randomWalk(3),
    );
    expect([o.kind, reads.length]).toEqual(['done', 10]);
    expect(faultCounts('flush.late').hits).toBeLessThanOrEqual(1);
  });
});
