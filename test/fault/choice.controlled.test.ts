/** Fault rules whose occurrences a schedule decides: asked only where it has a say, with the answers in their order. */
import { expect, it } from 'vitest';
import { answerAt, answerCount, answerWord } from '../../src/fault/about.js';
import { faultAdd, faultHit, faultInit, ruleCounts } from '../../src/fault/plan.js';
import { SITE } from '../../src/fault/sites.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt, header } from '../../src/sync/actor.js';
import { CHOICE } from '../../src/sync/choices.js';
import { withScheduler } from '../../src/sync/primitives.js';
import type { Scheduler } from '../../src/sync/schedule.js';

const BASE = 4096;
const CPU = cpuAt(1);

it('asks the schedule where that has a say: whether, and which of the answers', () => {
  faultInit(BASE);
  const rule = faultAdd('gnttab.unmap', { status: -1, answers: answerCount('gnttab.unmap'), times: 2 });
  const asked: number[][] = [];
  const answers = [0, 1, 4];
  const scheduler: Scheduler = {
    point: () => false,
    waitPoint: () => false,
    block: () => undefined,
    blockLock: () => undefined,
    choose: (what, n) => {
      asked.push([what, n]);
      return answers.shift() ?? 0;
    },
  };
  const hits = (n: number): number[] => Array.from({ length: n }, () => faultHit(CPU, SITE['gnttab.unmap']));
  expect(withScheduler(scheduler, () => hits(1))).toEqual([-1]);
  expect(asked).toEqual([]);
  words[header.choices] = 1 << CHOICE.fault;
  faultInit(BASE);
  faultAdd('gnttab.unmap', { status: -1, answers: answerCount('gnttab.unmap'), times: 2 });
  expect(withScheduler(scheduler, () => hits(5))).toEqual([0, -1, answerAt('gnttab.unmap', 4), 0, 0]);
  expect(asked).toEqual(Array.from({ length: 3 }, () => [CHOICE.fault, 5]));
  expect(answerWord('gnttab.unmap', 'eagain')).toBe(answerAt('gnttab.unmap', 4));
  expect([ruleCounts(rule), faultHit(CPU, SITE['gnttab.unmap'])]).toEqual([{ seen: 5, hits: 2 }, 0]);
  words[header.choices] = 0;
});
