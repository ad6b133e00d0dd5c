/**
 * Threads for tests of the orchestration: a control plane that lays actor records and nothing else, and vCPUs that do
 * what the design's name says. One file, for it is compiled alone.
 */
import { HypervisorBug, MachineLost } from '../../../src/abi/errors.js';
import {
  BOARD_ENDED,
  type MachinePlan,
  type Reply,
  type VcpuPlace,
  type VcpuTask,
} from '../../../src/lab/run/messages.js';
import { barrier, board, serve } from '../../../src/lab/run/serve.js';
import { vcpu } from '../../../src/machine/cpu-record.js';
import { words } from '../../../src/ops/memory.js';
import { actor, CONTROL, CPU_WORDS, cpuAt, MAX_CPUS, REQ_ABORT, type Cpu } from '../../../src/sync/actor.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { add, ld, lock, peek, poke, run, unlock } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';

/** Words that the threads share, in machine memory. */
const STOP = 16;
/** One word a domain. */
const ROUNDS = 32;
const LOCK = 48;
const EXITS = 64;
const LEAKED = 72;
/** Not 0: the control plane never comes to an end. */
const DEAF_CONTROL = 73;
const MMUEXT_OP = 26;

function boot(plan: MachinePlan): Reply {
  if (plan.design === 'refuse') return { kind: 'refused', why: 'will not run here' };
  if (plan.design === 'boot-hang') for (;;) peek(0);
  words.fill(0, 0, 4096);
  words.fill(0, cpuAt(0), cpuAt(0) + MAX_CPUS * CPU_WORDS);
  poke(DEAF_CONTROL, plan.design === 'deaf-control' ? 1 : 0);
  let slot = 0;
  const vcpus = plan.scenario.domains.flatMap((d) =>
    Array.from({ length: d.vcpus }, (_, id) => ({ cpu: cpuAt(++slot), domain: d.name, domid: d.domid, id })),
  );
  const domains = plan.scenario.domains.map((d) => ({
    domain: d.name,
    domid: d.domid,
    stop: STOP,
    rounds: ROUNDS + d.domid,
    counters: { exits: EXITS },
  }));
  const regions = [
    { name: 'memory', from: 0 },
    { name: 'actors', from: cpuAt(0) },
  ];
  return { kind: 'booted', vcpus, control: CONTROL, regions, domains, starts: {} };
}

function oversee(go: number): Reply {
  barrier(go);
  while (Atomics.load(board(), BOARD_ENDED) < go || peek(DEAF_CONTROL) !== 0) {
    poke(actor.beat(CONTROL), peek(actor.beat(CONTROL)) + 1);
    Atomics.wait(board(), BOARD_ENDED, go - 1, 10);
  }
  return { kind: 'overseen', destroyed: [], missed: [], buried: [] };
}

function turn(cpu: Cpu): void {
  if ((peek(actor.request(cpu)) & REQ_ABORT) !== 0) throw new MachineLost('given up');
  poke(actor.beat(cpu), peek(actor.beat(cpu)) + 1);
}

function* work(cpu: Cpu, domid: number, rounds: number): Steps<void> {
  for (let i = 0; (rounds === 0 || i < rounds) && (yield* ld(STOP)) === 0; i++) {
    turn(cpu);
    yield* lock(cpu, LOCK, RANK.domainLock);
    yield* add(vcpu.nHypercalls(cpu), 1);
    yield* unlock(cpu, LOCK);
    yield* add(ROUNDS + domid, 1);
  }
  yield* add(EXITS, 1);
}

function* spin(): Steps<never> {
  for (;;) yield* ld(0);
}

/** A holder that never comes back, with the others waiting for its lock. */
function* hold(cpu: Cpu, culprit: boolean): Steps<void> {
  if (culprit) {
    poke(actor.doing(cpu), MMUEXT_OP + 1);
    yield* lock(cpu, LOCK, RANK.domainLock);
    yield* spin();
  }
  while ((yield* ld(LOCK)) === 0) turn(cpu);
}

function* behave(design: string, { cpu: at, domid, id }: VcpuPlace, rounds: number): Steps<void> {
  const cpu = at as Cpu;
  const culprit = domid === 0 && id === 0;
  if (design === 'leak' && culprit) poke(LEAKED, 1);
  if (design === 'spin' && culprit) yield* spin();
  if (design === 'hold') yield* hold(cpu, culprit);
  if (design === 'bug' && culprit) throw new HypervisorBug('a count went below zero');
  if (design === 'die' && culprit) process.exit(3);
  while (design === 'deaf') turn(cpu); // answers its heartbeat, but no request to come to an end
  if (design !== 'alone') yield* work(cpu, domid, design === 'bug' || design === 'die' ? 0 : rounds);
}

function vcpuTask(task: VcpuTask): Reply {
  barrier(task.go);
  const { design, scenario } = task.plan;
  const rounds = scenario.extent.kind === 'rounds' ? scenario.extent.rounds : 0;
  run(function* () {
    yield* behave(design, task.place, rounds);
  });
  poke(vcpu.nOverlaps(task.place.cpu as Cpu), design === 'alone' ? 0 : 1);
  return { kind: 'ended', how: 'finished', why: '' };
}

function audit(): Reply {
  const leak = { invariant: 'I10', detail: 'leaked', holders: ['dom0'], severity: 'leaked' } as const;
  const n = peek(LEAKED);
  return {
    kind: 'audited',
    violations: n === 0 ? [] : [leak],
    totals: { I10: n },
    faults: { counters: {}, missed: [] },
  };
}

serve((task) => {
  if (task.kind === 'boot') return boot(task.plan);
  if (task.kind === 'oversee') return oversee(task.go);
  return task.kind === 'audit' ? audit() : vcpuTask(task);
});
