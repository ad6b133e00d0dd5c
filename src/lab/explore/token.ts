/**
 * Tokens: a counterexample as one printable word, `x1.<scenario>.<code>.<what>.<trace>.<schedule>`.
 *
 * Invariant: carries everything that the execution depends on but the two things it is checked against: the scenario's
 * text and the code (their hashes). A token that was altered does not decode, or does not replay to its trace.
 * `<what>` is base64url of `design|twin|checks|numbers left out`, and, where faults were planned, `|rules`;
 * `<trace>` is the hash of the execution.
 */
import { createHash } from 'node:crypto';
import { LabError } from '../../abi/errors.js';
import { decodeSchedule, encodeSchedule, type Schedule } from '../../explore/schedule.js';
import type { FaultSpec, Scenario } from '../../scenario/scenario.js';
import { formatFault, parseFault } from '../inject/spec.js';
import type { LeftOut } from './reduce.js';

export interface Counterexample {
  readonly scenarioHash: string;
  readonly codeHash: string;
  readonly design: string;
  /** Name of the wrong variant of the hypervisor, '' for the right one. */
  readonly twin: string;
  /** Whether the checks after every step were on. */
  readonly stepChecks: boolean;
  readonly leftOut: LeftOut;
  /** Where faults may be; which of them are is a choice of the schedule. */
  readonly faults: readonly FaultSpec[];
  /** Hash of the execution, 8 hex digits. */
  readonly trace: string;
  readonly schedule: Schedule;
}

const FORM = /^x1\.([0-9a-f]{8})\.([0-9a-f]{8})\.([\w-]+)\.([0-9a-f]{8})\.([\w-]+)$/;

export const shortHash = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 8);

/** Of what an execution depends on in a scenario; its name, description and expectations may change, its twin and its faults are named. */
export function scenarioHash({ seed, memoryMib, hypervisor, domains, small, checks }: Scenario): string {
  const { build, quantum } = hypervisor;
  const rest = small === undefined ? undefined : { ...small, faults: undefined };
  return shortHash(JSON.stringify([seed, memoryMib, { build, quantum }, domains, rest, checks]));
}

export function encodeToken(c: Counterexample): string {
  const what = [c.design, c.twin, c.stepChecks ? 's' : 'e', [...c.leftOut].sort((a, b) => a - b).join(',')];
  if (c.faults.length > 0) what.push(c.faults.map(formatFault).join(' '));
  const middle = Buffer.from(what.join('|')).toString('base64url');
  return ['x1', c.scenarioHash, c.codeHash, middle, c.trace, encodeSchedule(c.schedule)].join('.');
}

/** The token in `text`; a LabError says what is wrong with it. */
export function decodeToken(text: string): Counterexample {
  const [, scenario, code, middle, trace, steps] = FORM.exec(text) ?? [];
  const schedule = steps === undefined ? undefined : decodeSchedule(steps);
  const [design = '', twin = '', checks = '', numbers = '', faults = ''] = Buffer.from(middle ?? '', 'base64url')
    .toString()
    .split('|');
  if (schedule === undefined || design === '') {
    throw new LabError('BAD_TOKEN', 'this is no token, or a part of one', {
      hint: 'a token is one word that begins with x1. and has six parts with dots between',
    });
  }
  const leftOut = new Set(numbers === '' ? [] : numbers.split(',').map(Number));
  return {
    scenarioHash: scenario ?? '',
    codeHash: code ?? '',
    design,
    twin,
    stepChecks: checks === 's',
    leftOut,
    faults: faults === '' ? [] : faults.split(' ').map(parseFault),
    trace: trace ?? '',
    schedule,
  };
}
