/** An event of the trace as a line of a listing: hypercalls, sites and answers by their names. */
import * as errnos from '../../abi/errno.js';
import * as numbers from '../../abi/hypercall.js';
import { ABOUT, answerWord } from '../../fault/about.js';
import { SITES } from '../../fault/sites.js';
import { EVENT, eventShape } from '../../trace/events.js';

const HYPERCALLS = new Map<number, string>(
  Object.entries(numbers).map(([name, nr]) => [nr, name.replace('HYPERVISOR_', '')]),
);
const ERRNOS = new Map<number, string>(Object.entries(errnos).map(([name, errno]) => [-errno, `-${name}`]));

/** How the line of an injected fault begins. */
export const FAULT = 'fault at';

/** Events that say nothing to a reader beside the others. */
const QUIET: ReadonlySet<number> = new Set([EVENT.mark, EVENT.gateArgs]);

/** The line; empty for an event that says nothing beside the others. */
export function eventText(event: number, a: number, b: number): string {
  if (QUIET.has(event)) return '';
  if (event === EVENT.gateEnter) return `hypercall ${callName(a)}`;
  if (event === EVENT.gateExit) return b < 0 ? `hypercall ${callName(a)} answers ${ERRNOS.get(b) ?? String(b)}` : '';
  if (event === EVENT.faultInjected) return faultText(a, b);
  const shape = eventShape(event);
  return shape === undefined ? '' : `${shape.name} ${shape.a}=${short(a)} ${shape.b}=${short(b)}`;
}

function faultText(number: number, status: number): string {
  const site = SITES[number];
  if (site === undefined) return `${FAULT} site ${String(number)}: ${short(status)}`;
  const { kind, answers } = ABOUT[site];
  if (kind === 'happens') return `${FAULT} ${site}`;
  return `${FAULT} ${site}: ${answers.find((name) => answerWord(site, name) === status) ?? short(status)}`;
}

const callName = (nr: number): string => HYPERCALLS.get(nr) ?? String(nr);
const short = (v: number): string => (Math.abs(v) < 4096 ? String(v) : `0x${(v >>> 0).toString(16)}`);
