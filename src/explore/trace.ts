/**
 * The steps of one schedule, written down: what each did and what the first word it touched held before and after.
 *
 * Made by running the schedule again, so that searching pays nothing for it; what reports and diagnoses are made from.
 */
import { words } from '../ops/memory.js';
import { checkOf } from './check.js';
import { Loop, type Chosen } from './loop.js';
import type { Finding, Outcome, Program } from './program.js';
import { Replay } from './replay.js';
import type { Schedule } from './schedule.js';

export interface TraceStep {
  readonly actor: number;
  readonly address: number;
  /** POINT_* bits of what it did, as a StepCheck is told. */
  readonly kind: number;
  readonly words: number;
  /** The word at `address`. */
  readonly before: number;
  readonly after: number;
}

export interface Trace {
  readonly steps: readonly TraceStep[];
  readonly outcome: Outcome;
  /** What the check after the last step said, and nothing else; `search` and `shrink` judge an execution's end. */
  readonly found: Finding | undefined;
  readonly chosen: readonly Chosen[];
  /** Whether the schedule could be followed to the letter. */
  readonly diverged: boolean;
}

export interface TraceOptions {
  readonly bound?: number;
  /** With the race detector, so that a race ends the trace where it ended the execution. */
  readonly races?: boolean;
}

/** Runs `schedule` once more, with the program's own checks, and writes down its steps. */
export function traceOf(program: Program, schedule: Schedule, options: TraceOptions = {}): Trace {
  const checks = checkOf(program, options.races === true);
  checks.begin();
  const bodies = program.start();
  const loop = new Loop(bodies.length);
  const replay = new Replay(schedule);
  const steps: TraceStep[] = [];
  const before = new Int32Array(bodies.length);
  const outcome = loop.execute(
    bodies,
    {
      begin: (view) => replay.begin(view),
      pick: (view, running) => {
        const next = replay.pick(view, running);
        before[next] = words[view.address[next]!]!;
        return next;
      },
      choose: (view, actor, what, n) => replay.choose(view, actor, what, n),
    },
    options.bound,
    (actor, address, kind, n, own) => {
      steps.push({ actor, address, kind, words: n, before: before[actor]!, after: words[address]! });
      return checks.check?.(actor, address, kind, n, own);
    },
  );
  const found = outcome.kind === 'found' ? outcome.finding : undefined;
  return { steps, outcome, found, chosen: loop.chosen, diverged: replay.diverged };
}
