/**
 * A fault as people write it, `gnttab.unmap:nth=3,status=eagain`, and as a plan's rule needs it.
 *
 * Invariant: what is wrong with the text is a LabError that says what would be right; text and spec say the same.
 * Source: attributes as Linux's fault-injection capabilities.
 */
import { DESIGN_STEP, DESIGN_STEPS } from '../../abi/design-step.js';
import { LabError } from '../../abi/errors.js';
import { ABOUT, answerWord, type SiteAbout } from '../../fault/about.js';
import type { FaultRule } from '../../fault/plan.js';
import { SITES, type SiteName } from '../../fault/sites.js';
import type { FaultSpec } from '../../scenario/scenario.js';
import { hintFor } from '../../scenario/suggest.js';

const NUMBERS = ['nth', 'after', 'interval', 'times', 'space', 'seed', 'vcpu', 'ref', 'handle'] as const;
const KEYS = ['status', ...NUMBERS, 'probability', 'domain', 'step', 'frames'] as const;
const AT_LEAST_ONE: ReadonlySet<string> = new Set(['nth', 'interval', 'times']);

const bad = (text: string, why: string, hint: string): LabError =>
  new LabError('BAD_FAULT', `fault '${text}': ${why}`, { hint });

/** Reads `SITE[:key=value[,key=value]…]`. */
export function parseFault(text: string): FaultSpec {
  const [site = '', ...rest] = text.split(':');
  if (!isSite(site)) throw bad(text, `there is no site '${site}'`, hintFor(site, SITES));
  const spec: Record<string, unknown> = { site };
  for (const pair of rest
    .join(':')
    .split(',')
    .filter((p) => p !== '')) {
    const [key = '', value = '', ...more] = pair.split('=');
    if (more.length > 0 || value === '') throw bad(text, `'${pair}' is no key=value`, `keys are ${KEYS.join(', ')}`);
    if (spec[key] !== undefined) throw bad(text, `'${key}' is given twice`, 'leave one out');
    spec[key] = valueOf(text, key, value);
  }
  const done = spec as unknown as FaultSpec;
  if (answerWord(site, done.status) === undefined) {
    throw bad(text, `the site cannot answer '${done.status ?? ''}'`, `it answers ${answers(site)}`);
  }
  return done;
}

export const isSite = (s: string): s is SiteName => (SITES as readonly string[]).includes(s);
export const allSites = (): readonly SiteName[] => SITES;
export const siteAbout = (site: SiteName): SiteAbout => ABOUT[site];

/** What a site answers, for people. */
export function answers(site: SiteName): string {
  const { kind, answers: names } = ABOUT[site];
  if (kind === 'happens') return 'nothing, it happens';
  return kind === 'count' ? `a number from 1 (${names[0] ?? ''})` : names.join(', ');
}

function valueOf(text: string, key: string, value: string): unknown {
  if (key === 'status' || key === 'domain') return value;
  if (key === 'step') {
    if ((DESIGN_STEPS as readonly string[]).includes(value)) return value;
    throw bad(text, `there is no step '${value}'`, hintFor(value, DESIGN_STEPS));
  }
  if (key === 'probability') {
    const p = Number(value);
    if (p >= 0 && p <= 1) return p;
    throw bad(text, `probability is ${value}`, 'from 0 to 1');
  }
  if (key === 'frames') {
    const range = /^(\d{1,9})-(\d{1,9})$/.exec(value);
    if (range !== null && Number(range[1]) <= Number(range[2])) return [Number(range[1]), Number(range[2])];
    throw bad(text, `frames is '${value}'`, 'first and last, such as 100-120');
  }
  if (!(NUMBERS as readonly string[]).includes(key)) throw bad(text, `there is no key '${key}'`, hintFor(key, KEYS));
  if (!/^\d{1,10}$/.test(value) || Number(value) > 0xffffffff)
    throw bad(text, `${key} is '${value}'`, 'a whole number');
  if (AT_LEAST_ONE.has(key) && Number(value) === 0) throw bad(text, `${key} is 0`, 'counted from 1');
  return Number(value);
}

/** The text that parses to `spec`. */
export function formatFault(spec: FaultSpec): string {
  const pairs = Object.entries(spec)
    .filter(([key]) => key !== 'site')
    .map(([key, v]) => `${key}=${Array.isArray(v) ? v.join('-') : String(v)}`);
  return pairs.length === 0 ? spec.site : `${spec.site}:${pairs.join(',')}`;
}

/** Which actors a domain's name and a vCPU's number stand for; undefined: there are none. */
export type ActorsOf = (domain: string | undefined, vcpu: number | undefined) => readonly number[];

const NO_BOOT = DESIGN_STEPS.filter((s) => s !== 'boot').map((s) => DESIGN_STEP[s]);

/** The rule for `spec`. Unless it names a step, it concerns no vCPU that still boots; the control plane always. */
export function ruleOf(spec: FaultSpec, actorsOf: ActorsOf, bootToo: boolean): FaultRule {
  const { site, status, domain, vcpu, step, ...rest } = spec;
  const named = domain !== undefined || vcpu !== undefined;
  const steps = step !== undefined ? [DESIGN_STEP[step]] : bootToo ? undefined : NO_BOOT;
  const actors = named ? actorsOf(domain, vcpu) : undefined;
  if (actors?.length === 0) {
    throw bad(formatFault(spec), 'no such vCPU', 'domain and vcpu are those of the scenario');
  }
  return {
    status: answerWord(site, status) ?? 1,
    ...rest,
    ...(steps === undefined ? {} : { steps }),
    ...(actors === undefined ? {} : { actors }),
  };
}
