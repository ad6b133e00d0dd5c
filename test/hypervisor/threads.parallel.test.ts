/** Real threads on the same frames: afterwards every count equals its holders. */
import { expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { vcpuOf } from '../../src/hypervisor/domain.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek } from '../../src/sync/primitives.js';
import { cpuIndex } from '../../src/sync/actor.js';
import { compileForThreads, runThreads } from '../support/threads.js';
import { machine, pte, put, RO, RW, type Dom } from './machine.js';
import { recount, totals } from './recount.js';
import { likes, SHARED } from './thread-bodies.js';

const THREADS = 4;
const ROUNDS = 15_000;

it.each([0, 1, 3])('a quantum of %i: counts after four threads', { timeout: 120_000 }, async (quantum) => {
  const [, d1] = machine({ quantum }, [{ domid: 1, vcpus: THREADS }]) as [Dom, Dom];
  const frames = d1.frames(SHARED);
  const first = frames[0] as number;
  expect(frames.every((m, i) => m === first + i)).toBe(true);
  frames.forEach((m, i) => {
    const lower = frames.filter((_, k) => likes(i) > 0 && likes(k) === likes(i) - 1);
    lower.slice(0, 3).forEach((target, k) => {
      put(m, [0, 100, 511][k] as number, pte(target, likes(i) === 1 && k === 0 ? RO : RW));
    });
  });
  const module = compileForThreads('test/hypervisor/thread-bodies.ts');
  const args = Array.from({ length: THREADS }, (_, i) => [cpuIndex(vcpuOf(d1.d, i)), first, 17 + i, ROUNDS]);
  const did = (await runThreads(module, 'hammer', args)) as number[];
  for (const n of did) expect(n).toBeGreaterThan(ROUNDS / 20);
  const lost = args.reduce((sum, _, i) => sum + peek(vcpu.nLostTables(vcpuOf(d1.d, i))), 0);
  expect(lost).toBe(0);
  expect(recount()).toEqual([]);
  expect(totals()).toEqual([]);
});
