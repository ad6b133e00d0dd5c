/**
 * Where a search begins that goes on from a token: its scenario with the design, twin and faults of the token, and its
 * first steps.
 *
 * Invariant: as a replay, it is over the scenario and the code that the token was made of.
 */
import type { Catalog } from '../../abi/catalog.js';
import { LabError } from '../../abi/errors.js';
import { encodeSchedule } from '../../explore/schedule.js';
import type { Scenario } from '../../scenario/scenario.js';
import type { PrefixSpec } from './messages.js';
import { checkCode, findToken, scenarioOf } from './token-file.js';

/** What the command line says beside the token, which says it already. */
export interface Beside {
  readonly designs: readonly string[] | undefined;
  readonly twin: string | undefined;
  readonly faults: boolean;
}

export interface From {
  readonly scenario: Scenario;
  readonly prefix: PrefixSpec;
}

/** What `named`, TOKEN or TOKEN:STEPS, says of the scenario in `file`. */
export function fromToken(named: string, file: string, beside: Beside, catalog: Catalog): From {
  const [, word = '', number] = /^(.*?)(?::(\d+))?$/s.exec(named) ?? [];
  const token = findToken(word, 1);
  const { picks } = token.schedule;
  const steps = number === undefined ? picks.length : Number(number);
  if (steps > picks.length) {
    throw new LabError('BAD_FLAG', `the token has ${String(picks.length)} steps, and ${String(steps)} are asked for`, {
      hint: 'TOKEN:STEPS takes the first of them',
    });
  }
  const scenario = scenarioOf(token, file, catalog);
  checkCode(token);
  if (beside.designs?.some((d) => d !== token.design) === true) refuse('design', token.design);
  if (beside.twin !== undefined && beside.twin !== token.twin) refuse('twin', token.twin);
  if (beside.faults) {
    throw new LabError('BAD_FLAG', 'the token says which faults there can be', { hint: 'leave out --fault' });
  }
  return {
    scenario: { ...scenario, designs: [token.design], faults: token.faults },
    prefix: { schedule: encodeSchedule(token.schedule), steps, leftOut: [...token.leftOut] },
  };
}

function refuse(what: string, of: string): never {
  throw new LabError('BAD_FLAG', `the token is of ${of === '' ? `no ${what}` : `${what} ${of}`}`, {
    hint: `leave out --${what}: the token says it`,
  });
}
