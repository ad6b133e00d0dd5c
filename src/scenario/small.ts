/**
 * The `small:` section: steps as text, `grant dom0`, `map front 0 2`, checked against the guests' catalog and resolved.
 *
 * Invariant: what passes the rules is resolved without a default being guessed twice: both read the same arguments.
 * Lock: none. Pure.
 */
import type { StepArgument, StepEntry } from '../abi/catalog.js';
import type { Report } from './rules.js';
import { DEFAULT_BOUND, DEFAULT_FAULTS, domids, type Small, type SmallList, type SmallStep } from './scenario.js';
import type { RawScenario } from './schema.js';
import { hintFor } from './suggest.js';

type Lists = Readonly<Record<string, readonly string[]>>;

const CONTROL = 'control';
const words = (text: string): string[] => text.trim().split(/\s+/);

/** `dom0.1` as its domain and number; the control plane is the domain ''. */
function whoIs(who: string): { domain: string; vcpu: number } {
  if (who === CONTROL) return { domain: '', vcpu: 0 };
  const dot = who.lastIndexOf('.');
  return { domain: who.slice(0, dot), vcpu: Number(who.slice(dot + 1)) };
}

/** What is wrong with the section. */
export function smallRules(raw: RawScenario, steps: readonly StepEntry[], report: Report): void {
  if (raw.small === undefined) return;
  raw.small.setup?.forEach((lists, i) => {
    listRules(raw, lists, ['small', 'setup', i], steps, report);
  });
  listRules(raw, raw.small.race, ['small', 'race'], steps, report);
  if (Object.keys(raw.small.race).length < 2) {
    report(['small', 'race'], 'a race needs two sides', "name two vCPUs, or one and 'control'");
  }
  const chosen = raw.small.choices?.includes('fault') === true;
  if (chosen && (raw.faults ?? []).length === 0) {
    report(['small', 'choices'], "'fault' is a choice, and no fault is named", "list sites under 'faults'");
  }
  if (!chosen && raw.small.faults !== undefined) {
    report(['small', 'faults'], "'fault' is no choice here", "add it to 'choices'; without it every fault happens");
  }
}

function listRules(
  raw: RawScenario,
  lists: Lists,
  path: readonly (string | number)[],
  steps: readonly StepEntry[],
  report: Report,
): void {
  for (const [who, list] of Object.entries(lists)) {
    const { domain, vcpu } = whoIs(who);
    const found = raw.domains.find((d) => d.name === domain);
    if (domain !== '' && found === undefined) {
      const names = raw.domains.map((d) => d.name);
      report([...path, who], `no domain is named '${domain}'`, hintFor(domain, names));
    } else if (found !== undefined && vcpu >= found.vcpus) {
      report([...path, who], `${domain} has ${String(found.vcpus)} vCPUs, counted from 0`);
    }
    list.forEach((text, i) => {
      const wrong = stepProblem(raw, domain, text, steps);
      if (wrong !== undefined) report([...path, who, i], wrong.message, wrong.hint);
    });
  }
}

interface Wrong {
  readonly message: string;
  readonly hint: string;
}

function stepProblem(raw: RawScenario, domain: string, text: string, steps: readonly StepEntry[]): Wrong | undefined {
  const [name = '', ...given] = words(text);
  const mine = steps.filter((s) => (s.by === 'control') === (domain === ''));
  const step = mine.find((s) => s.name === name);
  if (step === undefined) {
    const where = domain === '' ? 'the control plane has' : 'a vCPU has';
    return { message: `${where} no step '${name}'`, hint: hintFor(name, mine.map((s) => s.name)) }; // prettier-ignore
  }
  if (given.length > step.arguments.length) {
    return { message: `'${name}' has too many arguments`, hint: usage(step) };
  }
  for (const [i, a] of step.arguments.entries()) {
    const wrong = argumentProblem(raw, domain, a, given[i]);
    if (wrong !== undefined) return { message: `'${text}': ${wrong}`, hint: usage(step) };
  }
  return undefined;
}

function argumentProblem(
  raw: RawScenario,
  own: string,
  a: StepArgument,
  given: string | undefined,
): string | undefined {
  if (given === undefined) {
    return a.kind === 'integer' && a.default !== undefined ? undefined : `argument '${a.name}' is missing`;
  }
  if (a.kind === 'domain') {
    const known = raw.domains.some((d) => d.name === given && d.name !== own);
    return known ? undefined : `no other domain is named '${given}'`;
  }
  const n = /^[0-9]{1,9}$/.test(given) ? Number(given) : NaN;
  return n >= a.min && n <= a.max ? undefined : `'${a.name}' is a number from ${String(a.min)} to ${String(a.max)}`;
}

/** A step's form: `map <peer> [grant=0] [grants=1]`. */
export function usage(step: StepEntry): string {
  const form = (a: StepArgument): string =>
    a.kind === 'integer' && a.default !== undefined ? `[${a.name}=${String(a.default)}]` : `<${a.name}>`;
  return [step.name, ...step.arguments.map(form)].join(' ');
}

/** The section of a scenario that passed the rules. */
export function completeSmall(raw: RawScenario, steps: readonly StepEntry[]): Small {
  const ids = domids(raw.domains);
  const numbers = Object.fromEntries(raw.domains.map((d, i) => [d.name, ids[i] ?? 0]));
  const resolve = (lists: Lists): SmallList[] =>
    Object.entries(lists).map(([who, list]) => {
      const place = whoIs(who);
      const mine = steps.filter((s) => (s.by === 'control') === (place.domain === ''));
      return { ...place, steps: list.map((text) => resolveStep(text, mine, numbers)) };
    });
  return {
    setup: (raw.small?.setup ?? []).flatMap(resolve),
    race: resolve(raw.small?.race ?? {}),
    choices: raw.small?.choices ?? [],
    faults: raw.small?.faults ?? DEFAULT_FAULTS,
    bound: raw.small?.bound ?? DEFAULT_BOUND,
  };
}

function resolveStep(text: string, steps: readonly StepEntry[], numbers: Readonly<Record<string, number>>): SmallStep {
  const [name = '', ...given] = words(text);
  const entry = steps.find((s) => s.name === name);
  const args = (entry?.arguments ?? []).map((a, i) => {
    const word = given[i];
    if (a.kind === 'domain') return numbers[word ?? ''] ?? 0;
    return word === undefined ? (a.default ?? 0) : Number(word);
  });
  return { name, args, text: words(text).join(' ') };
}
