/**
 * A scenario beside hostile guests in the controlled build: every vCPU and the control plane are coroutines, the seed's
 * strategy switches.
 *
 * Invariant: a function of the plan, the seed and nothing else: the same seed leaves the same trace. What wakes sleepers on
 * threads, a look now and then, is a tick of the machine here: an upcall after a number of steps.
 * Lock: none; one thread runs everything.
 */
import { DESIGN_STEP } from '../../abi/design-step.js';
import { formatWaits, Loop } from '../../explore/loop.js';
import { randomWalk } from '../../explore/random-walk.js';
import { roundRobin } from '../../explore/round-robin.js';
import type { Picker } from '../../explore/strategy.js';
import { vcpu } from '../../machine/cpu-record.js';
import { words } from '../../ops/memory.js';
import type { DomainSpec } from '../../scenario/scenario.js';
import { actor, CONTROL, REQ_EVENT, type Cpu } from '../../sync/actor.js';
import { add, ldOnce, or, peek, poke, stOnce, waitChange, wake } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { VcpuStopped } from '../../vcpu/stopped.js';
import { mix } from '../fuzz/plan.js';
import { audit, boot, type ControlGuests } from '../run/control.js';
import { countersOf, overlapOf } from '../run/counters.js';
import type { Booted, MachinePlan, VcpuTask } from '../run/messages.js';
import type { Outcome } from '../run/verdict.js';
import { isRunning, lives, type AwaitTurn, type Lives } from './lives.js';

/** Steps a vCPU runs on before the next one does; 0: anyone goes on at every point. */
const SLICES = [0, 5, 60, 700, 9000];
/** Steps of a hostile life, about. */
const LIVES = [40, 200, 1000];
/** Steps between two ticks. */
const TICK = 100_000;
/** Looks, a tick apart or less, at a hostile domain that does not end. */
const PATIENCE = 60;
const BOUND = 400_000_000;

export interface ControlledJob {
  readonly plan: MachinePlan;
  readonly checks: readonly string[];
  readonly seed: number;
}

export interface ControlledResult extends Outcome {
  readonly notes: readonly string[];
  readonly steps: number;
  /** Of who took each step, and of what was counted. */
  readonly trace: string;
}

/** Everything a vCPU does, its halt included. */
export type VcpuLife = (cpu: Cpu, task: VcpuTask, awaitTurn: AwaitTurn) => Steps<void>;

const NOTHING = { counters: {}, overlap: { hypercalls: 0, contendedLocks: 0 }, missed: [] } as const;

export function controlledRun(job: ControlledJob, guests: ControlGuests, life: VcpuLife): ControlledResult {
  const plan = { ...job.plan, scenario: shortLived(job.plan.scenario, job.seed) };
  const booted = boot(guests, plan);
  const none = { ...NOTHING, violations: [], steps: 0, trace: '' };
  if (booted.kind === 'refused') return { ...none, ending: 'refused', notes: [booted.why] };
  if (booted.kind !== 'booted') return { ...none, ending: 'error', notes: [`booting: ${booted.kind}`] };
  const loop = new Loop(booted.vcpus.length + 1);
  const why = runAll(plan, booted, guests, life, loop, job.seed);
  const counters = countersOf(words, booted.vcpus, booted.domains);
  const overlap = overlapOf(words, booted.vcpus);
  const common = { overlap, missed: [], steps: loop.steps, trace: traceOf(loop, counters) };
  if (why !== '') return { ...common, counters, ending: 'error', violations: [], notes: [why] };
  const audited = audit(guests, job.checks, booted.domains);
  if (audited.kind !== 'audited') return { ...common, counters, ending: 'error', violations: [], notes: ['no audit'] };
  const leaked = { leakedHandles: audited.totals['I10'] ?? 0 };
  return {
    ...common,
    counters: { ...counters, ...leaked },
    ending: 'finished',
    violations: audited.violations,
    notes: [],
  };
}

/** Hostile lives are as long as the seed says: several of them, or one. */
function shortLived(s: MachinePlan['scenario'], seed: number): MachinePlan['scenario'] {
  const life = LIVES[mix(seed, 2) % LIVES.length] as number;
  const shorter = (d: DomainSpec): DomainSpec =>
    d.hostile === undefined ? d : { ...d, hostile: { ...d.hostile, life } };
  return { ...s, seed, domains: s.domains.map(shorter) };
}

/** '' or what went wrong. */
function runAll(plan: MachinePlan, b: Booted, guests: ControlGuests, life: VcpuLife, loop: Loop, seed: number): string {
  const hostile = b.domains.filter((d) => d.tallies !== undefined).map((d) => b.starts[d.domain] as Lives);
  const normal = b.vcpus.filter((p) => p.cpuWord === undefined).map((p) => p.cpu as Cpu);
  const first = hostile[0];
  if (first === undefined) return 'there is no hostile domain';
  const m: Watch = {
    turnAt: peek(lives.turnAt(first)),
    hostile,
    normal,
    all: b.vcpus.length,
    ended: 0,
    endedNormal: 0,
    tick: false,
  };
  const bodies = b.vcpus.map((place) => {
    const domain = plan.scenario.domains.find((d) => d.name === place.domain) as DomainSpec;
    const task: VcpuTask = { kind: 'vcpu', go: 0, place, plan, domain, start: b.starts[place.domain] };
    return () => body(task, life, m);
  });
  const outcome = loop.execute([...bodies, () => control(guests, m)], ticking(pickerOf(seed), m), BOUND);
  switch (outcome.kind) {
    case 'done':
      return '';
    case 'threw':
      return `body ${String(outcome.body)} threw ${outcome.error instanceof Error ? (outcome.error.stack ?? '') : String(outcome.error)}`;
    case 'deadlock':
      return `deadlock: ${formatWaits(outcome.waits)}`;
    default:
      return `it ended otherwise: ${outcome.kind} after ${String(loop.steps)} steps`;
  }
}

/** How far the bodies are; `tick` is set by the machine's clock, which counts steps. */
interface Watch {
  readonly turnAt: number;
  readonly hostile: readonly Lives[];
  readonly normal: readonly Cpu[];
  readonly all: number;
  ended: number;
  endedNormal: number;
  tick: boolean;
}

function pickerOf(seed: number): Picker {
  const slice = SLICES[mix(seed, 1) % SLICES.length] as number;
  return slice === 0 ? randomWalk(seed) : roundRobin(slice);
}

function ticking(inner: Picker, m: Watch): Picker {
  return {
    ...inner,
    pick: (view, running) => {
      if (view.steps % TICK === 0) {
        m.tick = true;
        poke(m.turnAt, peek(m.turnAt) + 1);
      }
      return inner.pick(view, running);
    },
  };
}

function* body(task: VcpuTask, life: VcpuLife, m: Watch): Steps<void> {
  try {
    yield* life(task.place.cpu as Cpu, task, awaitTurn);
  } catch (e) {
    if (!(e instanceof VcpuStopped)) throw e;
  }
  m.ended++;
  if (task.place.cpuWord === undefined) m.endedNormal++;
  yield* add(m.turnAt, 1);
  wake(m.turnAt);
}

function* awaitTurn(l: Lives, id: number, turn: number): Steps<void> {
  yield* waitChange(peek(lives.cpus(l) + id) as Cpu, peek(lives.turnAt(l)), turn);
}

/** Looks at every turn; while a hostile domain has no life it looks again and again, for then nobody might be left to turn. */
function* control(guests: ControlGuests, m: Watch): Steps<void> {
  for (let over = false; ;) {
    const turn = yield* ldOnce(m.turnAt); // raced on purpose: others count up
    yield* guests.tend(PATIENCE);
    if (m.tick) yield* tick(m);
    if (m.ended === m.all) return;
    if (!over && m.endedNormal === m.normal.length) {
      over = true;
      for (const l of m.hostile) yield* stOnce(lives.over(l), 1); // raced on purpose: set once
      yield* add(m.turnAt, 1);
    } else if (over || m.hostile.every(isRunning)) yield* waitChange(CONTROL, m.turnAt, turn);
  }
}

/** An upcall on each normal vCPU that has booted, as a timer's: its kernel looks again. */
function* tick(m: Watch): Steps<void> {
  m.tick = false;
  for (const cpu of m.normal) {
    if (peek(actor.step(cpu)) === DESIGN_STEP.boot) continue;
    poke(vcpu.upcallPending(cpu), 1);
    yield* or(actor.request(cpu), REQ_EVENT);
    wake(actor.request(cpu));
  }
}

function traceOf(loop: Loop, counters: Readonly<Record<string, number>>): string {
  let x = 0x811c9dc5;
  const eat = (v: number): void => {
    x = Math.imul(x ^ v, 0x01000193);
  };
  for (let i = 0; i < loop.steps; i++) eat(loop.picks[i] ?? 0);
  for (const v of Object.values(counters)) eat(v);
  return (x >>> 0).toString(16).padStart(8, '0');
}
