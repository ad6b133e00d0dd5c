/** A mapper with two vCPUs and several processes that map grants, two of them sharing an address space. */
import { add, peek, poke } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { TeardownDesign } from '../../../guests/designs/design.js';
import { forkTask } from '../../../guests/kernel/clone.js';
import { mm } from '../../../guests/kernel/mm.js';
import { kernel, percpu } from '../../../guests/kernel/records.js';
import { activateMm, initMm } from '../../../guests/kernel/switch.js';
import { killTask, task, taskAlloc, taskStart } from '../../../guests/kernel/task.js';
import { bootVcpu } from '../machine.js';
import { GNT } from '../process.js';
import { addVaBytes } from '../support.js';
import { grant, mapGrants, openLab, spawn, type Lab } from './lab.js';

const PROCESSES = 4;
const GRANTS = 3;

export interface Crowd {
  readonly lab: Lab;
  readonly refs: readonly number[];
}

/** All is set up on the first vCPU; both stand aside. */
export function* gather(design: TeardownDesign, splitPteLocks: boolean): Steps<Crowd> {
  const lab = yield* openLab(design, { vcpus: 2, splitPteLocks, populated: 448 });
  const { c, mapper } = lab;
  yield* bootVcpu(mapper, 1);
  yield* mapper.vcpus[1]!.park();
  const refs: number[] = [];
  for (let i = 0; i < PROCESSES; i++) {
    const p = yield* spawn(lab, 4);
    const mine = yield* grant(lab, GRANTS);
    refs.push(...mine);
    yield* mapGrants(lab, p, mine, addVaBytes(GNT, 511 * 4096));
    if (i === 1) yield* forkTask(c, p.t, 0);
    if (i === 2) yield* killTask(c, p.t, 9);
    if (i === 3) {
      yield* add(mm.users(p.m), 1);
      const thread = yield* taskAlloc(c, peek(task.program(p.t)), p.m, p.t);
      yield* taskStart(c, thread);
    }
  }
  yield* activateMm(c, initMm(c));
  poke(percpu.current(c.pc), 0);
  poke(kernel.started(c.k), 1);
  yield* mapper.vcpus[0]!.park();
  return { lab, refs };
}
