/**
 * A search for what a twin breaks: a small machine set up once, two or three bodies from its snapshot every time, the checks
 * after each step and the audit at the end.
 */
import { DEAD_VCPU_WORDS } from '../../src/machine/cpu-record.js';
import { auditMachine } from '../../src/audit/index.js';
import { makeStepChecks, type StepChecks } from '../../src/audit/step.js';
import { exhaustive } from '../../src/explore/exhaustive.js';
import type { Finding, Outcome, Program } from '../../src/explore/program.js';
import { search, type Report } from '../../src/explore/search.js';
import { setTwin, type TwinName } from '../../src/hypervisor/twins.js';
import { Snapshot, type Range } from '../../src/lab/explore/snapshot.js';
import {
  actor,
  ACTOR_UPPER,
  cpuAt,
  cpuIndex,
  HEADER_BASE,
  HEADER_WORDS,
  MAX_CPUS,
  type Cpu,
} from '../../src/sync/actor.js';
import type { Steps } from '../../src/sync/steps.js';

/** One side of a race. */
export interface Side {
  readonly cpu: Cpu;
  readonly body: () => Steps<void>;
}

/** What runs, after its setup has run. */
export interface Race {
  readonly sides: readonly Side[];
  /** What no check knows of: '' when all is well. */
  readonly wrong?: () => string;
  /** Forgets what the last execution left outside the shared memory. */
  readonly begin?: () => void;
}

export interface TwinCase {
  readonly twin: TwinName;
  /** Boots, sets up, says what races. */
  readonly make: () => Race;
  /** Preemptions that are enough to find it; 1 unless said. */
  readonly preemptions?: number;
  /** Executions within which it is found. */
  readonly budget: number;
  /** The rules of which one is broken first. */
  readonly breaks: readonly string[];
}

const cpus = (): Cpu[] => Array.from({ length: MAX_CPUS }, (_, i) => cpuAt(i));
const unlogged = (): Range[] => [
  ...cpus().map((cpu) => ({ from: cpu, words: ACTOR_UPPER })),
  { from: HEADER_BASE, words: HEADER_WORDS },
];
const dead = (): Range[] =>
  cpus().flatMap((cpu) => [
    { from: actor.beat(cpu), words: 1 },
    { from: actor.contended(cpu), words: 1 },
    ...DEAD_VCPU_WORDS.map(([from, words]) => ({ from: cpu + ACTOR_UPPER + from, words })),
  ]);

class RaceProgram implements Program {
  readonly names = {
    actor: (i: number): string => `side ${String(i)}`,
    address: (a: number): string => `word ${String(a)}`,
  };
  readonly #race: Race;
  readonly #snapshot: Snapshot;
  readonly #checks: StepChecks;
  readonly #actors: readonly number[];
  readonly #judged = new Map<number, readonly Finding[]>();

  constructor(race: Race) {
    this.#race = race;
    this.#snapshot = new Snapshot(unlogged(), dead());
    this.#checks = makeStepChecks();
    this.#actors = race.sides.map((s) => cpuIndex(s.cpu));
  }

  start(): readonly (() => Steps<void>)[] {
    this.#snapshot.restore();
    this.#checks.reset();
    this.#race.begin?.();
    return this.#race.sides.map((s) => s.body);
  }

  step(body: number, address: number, kind: number, words: number): Finding | undefined {
    return this.#checks.step(this.#actors[body]!, address, kind, words);
  }

  finish(outcome: Outcome): readonly Finding[] {
    if (outcome.kind !== 'done') return [];
    const wrong = this.#race.wrong?.() ?? '';
    if (wrong !== '') return [{ rule: 'outcome', detail: wrong, holders: [] }];
    const state = this.#snapshot.fingerprint();
    const known = this.#judged.get(state);
    if (known !== undefined) return known;
    const found = auditMachine().map(({ invariant, detail, holders }) => ({ rule: invariant, detail, holders }));
    this.#judged.set(state, found);
    return found;
  }
}

/** Searches a race, `begin` called once when its machine is set up. */
export function searchRace(make: () => Race, begin: () => void, executions: number, preemptions: number): Report {
  const race = make();
  begin();
  return search(new RaceProgram(race), exhaustive(preemptions), { executions, failures: 1, bound: 20_000 });
}

/** Searches the case with its twin on, or (`on` false) with the right hypervisor. */
export function searchCase(c: TwinCase, on: boolean, executions: number, preemptions = c.preemptions ?? 1): Report {
  return searchRace(c.make, () => setTwin(on ? c.twin : undefined), executions, preemptions);
}

/** The rules that the first failure broke. */
export const rulesOf = (r: Report): string[] => [...new Set(r.found.flatMap((f) => f.findings.map((x) => x.rule)))];
