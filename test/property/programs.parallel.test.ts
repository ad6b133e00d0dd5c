/** Random programs by real threads, one for each vCPU; a failure is not shrunk, for threads do not repeat themselves. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { buildFuzzMachine } from '../../src/lab/fuzz/machine.js';
import { oversee } from '../../src/lab/fuzz/oversee.js';
import { episodeResult } from '../../src/lab/fuzz/result.js';
import { judge } from '../../src/lab/fuzz/verdict.js';
import { fuzzBoard } from '../../src/lab/fuzz/machine.js';
import { peek, run } from '../../src/sync/primitives.js';
import { compileForThreads, startThread } from '../support/threads.js';
import { guestsOf, planOf, program, type Program } from './programs.js';

const bodies = compileForThreads('test/property/thread-bodies.ts');
const HANG_MS = 60_000;
const LOOK_MS = 2;
const ALARM_MS = 1_500;

/** Runs the program to its end, the control plane on this thread. */
async function outcome(p: Program) {
  const plan = planOf(p);
  const guests = guestsOf(p);
  const m = buildFuzzMachine(plan, guests);
  const threads = m.vcpus.map((v) =>
    startThread(bodies, 'live', [
      v.cpu,
      v.record,
      v.domid,
      v.id,
      v.privileged ? 1 : 0,
      m.board,
      plan.steps,
      plan.checked ? 1 : 0,
    ]),
  );
  const all = Promise.all(threads.map((t) => t.result));
  try {
    const end = Date.now() + HANG_MS;
    const thrown = await Promise.race([all.then(() => ''), ended(m, end)]);
    if (thrown !== '') throw new Error(thrown);
    let alarm = Date.now();
    run(() => oversee(m, () => Date.now() - alarm > ALARM_MS && (alarm = Date.now()) > 0));
    await all;
  } finally {
    await Promise.all(threads.map((t) => t.terminate()));
  }
  return episodeResult(plan, guests, m, 0, judge(plan, m));
}

/** Until every vCPU has ended, or the control domain's have, so that the others may wait for the control plane. */
async function ended(m: ReturnType<typeof buildFuzzMachine>, end: number): Promise<string> {
  const controllers = m.vcpus.filter((v) => v.privileged).length;
  while (peek(fuzzBoard.controllers(m.board)) < controllers) {
    if (Date.now() > end) return 'the control domain does not come to its end';
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return '';
}

describe('random programs of several threads', () => {
  it('leave the hypervisor in order', { timeout: 300_000 }, async () => {
    let calls = 0;
    let overlaps = 0;
    await fc.assert(
      fc.asyncProperty(program(400), async (p) => {
        const result = await outcome(p);
        expect(result.wrong).toEqual([]);
        calls += result.calls;
        overlaps += result.overlaps;
      }),
      { numRuns: 20, seed: 1804, endOnFailure: true },
    );
    expect(calls).toBeGreaterThan(3_000);
    expect(overlaps).toBeGreaterThan(20);
  });
});
