/**
 * What the end of an execution says: a deadlock with who waits for what, a lost wake-up, a livelock, an error.
 *
 * Rules: `deadlock`; `lost wake-up`, when somebody sleeps for ever on a word that changed after it had last looked at
 * anything else, so that what it waits for came and went; `livelock`, suspected at the step bound, and named with its
 * cycle when the same steps come round without changing anything; `bug`, when a body threw, or the rule that the error names (`lock-order`, `page-lock`).
 * A lost wake-up and a livelock are read from the steps, a plain deadlock and a bound from the outcome alone.
 */
import { ruleOfError } from '../sync/held.js';
import type { Finding, Names, Outcome, Program, Wait } from './program.js';
import type { Schedule } from './schedule.js';
import { traceOf, type TraceStep } from './trace.js';

/** Longest cycle looked for, and how often it must have come round. */
const LONGEST_CYCLE = 5000;
const ROUNDS = 3;

function waiting(names: Names, { body, address, holders }: Wait): string {
  const by = holders.length === 0 ? 'which nobody holds' : `held by ${holders.map((h) => `cpu ${h}`).join(', ')}`;
  return `${names.actor(body)} waits for ${names.address(address)}, ${by}`;
}

/** Findings of the way an execution ended; none when it was done or given up. */
export function diagnose(names: Names, outcome: Outcome): Finding[] {
  switch (outcome.kind) {
    case 'done':
    case 'abandoned':
      return [];
    case 'found':
      return [outcome.finding];
    case 'deadlock': {
      const holders = outcome.waits.map((w) => names.actor(w.body));
      return [{ rule: 'deadlock', detail: outcome.waits.map((w) => waiting(names, w)).join('; '), holders }];
    }
    case 'bound':
      return [{ rule: 'livelock', detail: `suspected: no end after ${outcome.steps} steps`, holders: [] }];
    case 'threw': {
      const { error } = outcome;
      const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      return [{ rule: ruleOfError(error), detail, holders: [names.actor(outcome.body)] }];
    }
  }
}

/** The same findings, those of a deadlock or of the step bound looked into by running the schedule once more. */
export function explain(
  program: Program,
  schedule: Schedule,
  outcome: Outcome,
  findings: readonly Finding[],
  bound?: number,
): readonly Finding[] {
  if (outcome.kind !== 'deadlock' && outcome.kind !== 'bound') return findings;
  if (!findings.some((f) => f.rule === 'deadlock' || f.rule === 'livelock')) return findings;
  const { steps } = traceOf(program, schedule, bound === undefined ? {} : { bound });
  const better =
    outcome.kind === 'bound' ? livelock(program.names, steps) : lostWakeUp(program.names, steps, outcome.waits);
  if (better === undefined) return findings;
  return [better, ...findings.filter((f) => f.rule !== better.rule)];
}

/** The first sleeper whose word was changed by another between its last look at anything else and its going to sleep. */
function lostWakeUp(names: Names, steps: readonly TraceStep[], waits: readonly Wait[]): Finding | undefined {
  for (const { body, address, holders } of waits) {
    // Who waits for a lock that is held is woken when it is released.
    if (holders.length > 0) continue;
    const slept = steps.findLastIndex((s) => s.actor === body);
    const looked = steps.findLastIndex((s, at) => at < slept && s.actor === body && s.address !== address);
    const changed = steps.findLastIndex(
      (s, at) => at > looked && at < slept && s.actor !== body && touches(s, address) && s.after !== s.before,
    );
    if (changed < 0) continue;
    const other = names.actor(steps[changed]!.actor);
    const me = names.actor(body);
    const since =
      looked < 0
        ? 'before it looked at anything'
        : `after its look at ${names.address(steps[looked]!.address)} at step ${looked + 1}`;
    return {
      rule: 'lost wake-up',
      detail: `${me} sleeps on ${names.address(address)} since step ${slept + 1}; ${other} changed it at step ${changed + 1}, ${since}, and nobody is left to change it again`,
      holders: [me, other],
    };
  }
  return undefined;
}

const touches = (s: TraceStep, a: number): boolean => s.address <= a && a < s.address + s.words;

/** The shortest cycle in which the execution ends, when nothing is changed by going round. */
function livelock(names: Names, steps: readonly TraceStep[]): Finding | undefined {
  const n = steps.length;
  const same = (a: TraceStep, b: TraceStep): boolean =>
    a.actor === b.actor && a.address === b.address && a.kind === b.kind && a.before === b.before && a.after === b.after;
  for (let p = 1; p <= Math.min(LONGEST_CYCLE, n / ROUNDS); p++) {
    let k = n - 1;
    while (k >= n - (ROUNDS - 1) * p && same(steps[k]!, steps[k - p]!)) k--;
    if (k >= n - (ROUNDS - 1) * p) continue;
    const cycle = steps.slice(n - p);
    const who = [...new Set(cycle.map((s) => names.actor(s.actor)))];
    const what = [...new Set(cycle.map((s) => names.address(s.address)))];
    return {
      rule: 'livelock',
      detail: `after ${n} steps the same ${p} come round: ${who.join(', ')} at ${what.slice(0, 8).join(', ')}`,
      holders: who,
    };
  }
  return undefined;
}
