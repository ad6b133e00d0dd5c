/**
 * What the end of an execution says: a deadlock with who waits for what, an error, a bound that was reached.
 *
 * Rules: `deadlock`, `bug` (a body threw), `livelock` (suspected, at the step bound), and the rule of a step's finding.
 */
import type { Finding, Names, Outcome, Wait } from './program.js';

function waiting(names: Names, { body, address, holders }: Wait): string {
  const by = holders.length === 0 ? 'which nobody holds' : `held by ${holders.map((h) => `cpu ${h}`).join(', ')}`;
  return `${names.actor(body)} waits for ${names.address(address)}, ${by}`;
}

/** Findings of the way an execution ended; none when it was done. */
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
      return [{ rule: 'livelock', detail: `no end after ${outcome.steps} steps`, holders: [] }];
    case 'threw': {
      const { error } = outcome;
      const detail = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
      return [{ rule: 'bug', detail, holders: [names.actor(outcome.body)] }];
    }
  }
}
