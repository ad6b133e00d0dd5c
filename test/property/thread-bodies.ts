/** What each thread of programs.parallel.test.ts does: one vCPU's whole life, as the fuzzer runs it. */
import type { Cpu } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import { vcpuLife, type FuzzBoard } from '../../src/lab/fuzz/machine.js';
import type { EpisodePlan } from '../../src/lab/fuzz/plan.js';
import { hostileGuests } from '../../workers/hostile.js';

/** Runs the vCPU at `cpu`; its program and everything else lie in the record. */
export function live(
  cpu: number,
  record: number,
  domid: number,
  id: number,
  privileged: number,
  board: number,
  steps: number,
  checked: number,
): void {
  const plan = { steps, checked: checked !== 0 } as EpisodePlan;
  const v = { cpu: cpu as Cpu, record, domid, id, privileged: privileged !== 0 };
  run(() => vcpuLife(plan, hostileGuests, v, board as FuzzBoard));
}
