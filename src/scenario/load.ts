/**
 * A scenario file, from its text to a checked object.
 *
 * Invariant: what comes out is complete and consistent; every refusal names file, line and column.
 * Lock: none. Source: reference ecosystem.md (YAML recipe).
 */
import { isAlias, LineCounter, parseDocument, visit, type Document, type YAMLError } from 'yaml';
import type { Catalog, ProgramEntry } from '../abi/catalog.js';
import { ScenarioError, type Problem } from './error.js';
import { problemsOf } from './issues.js';
import { positionsOf, type Positions } from './positions.js';
import { ruleProblems } from './rules.js';
import { completeSmall } from './small.js';
import {
  completeFault,
  DEFAULT_ROUNDS,
  domids,
  expectationOf,
  hostileOf,
  kernelOptions,
  sizeMib,
  type DomainSpec,
  type Expectation,
  type ParameterValue,
  type Scenario,
  type SweepExpectations,
  type Workload,
} from './scenario.js';
import { CHECKS, scenarioJsonSchema, scenarioSchema, type RawScenario } from './schema.js';

/** Checks `text`, which came from `file`, against `catalog`; throws a ScenarioError that lists every problem. */
export function parseScenario(file: string, text: string, catalog: Catalog): Scenario {
  if (tooDeep(text)) refuse([{ position: { file, line: 1, column: 1 }, message: 'the file is nested too deep' }]);
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, intAsBigInt: true, uniqueKeys: true });
  const positions = positionsOf(file, doc, lines);
  refuse([...doc.errors, ...doc.warnings].map((e) => syntaxProblem(e, positions)));
  refuse(aliasProblems(text, doc, positions));
  const value = smallIntegers(doc.toJS());
  if (value === null || value === undefined)
    refuse([{ position: positions.at(0), message: 'the file holds no scenario' }]);
  const checked = scenarioSchema(catalog).safeParse(value);
  if (!checked.success) {
    refuse(problemsOf(checked.error.issues, scenarioJsonSchema(catalog), value, positions));
    throw checked.error;
  }
  refuse(ruleProblems(checked.data, catalog, positions));
  return complete(checked.data, catalog);
}

const DEPTH = 100;

/** A parser that recurses must not be handed thousands of open brackets or list marks. */
function tooDeep(text: string): boolean {
  let open = 0;
  for (const c of text) {
    if (c === '[' || c === '{') open++;
    else if (c === ']' || c === '}') open--;
    if (open > DEPTH) return true;
  }
  return text.split('\n').some((line) => (/^[\s-]*/.exec(line)?.[0].length ?? 0) > 4 * DEPTH);
}

function refuse(problems: readonly Problem[]): void {
  const sorted = [...problems].sort(
    (a, b) => a.position.line - b.position.line || a.position.column - b.position.column,
  );
  const [first, ...rest] = sorted;
  if (first !== undefined) throw new ScenarioError([first, ...rest]);
}

const SYNTAX_HINTS: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'keep one of the two',
  MULTIPLE_DOCS: 'one file holds one scenario',
  TAB_AS_INDENT: 'indent with spaces',
  TAG_RESOLVE_FAILED: 'scenarios use no YAML tags',
  BAD_INDENT: 'entries of one mapping or list start in one column',
};

function syntaxProblem(e: YAMLError, positions: Positions): Problem {
  const message = (e.message.split('\n')[0] ?? e.code).replace(/ at line \d+, column \d+:?$/, '');
  const hint = SYNTAX_HINTS[e.code];
  const position = positions.at(e.pos[0]);
  return hint === undefined ? { position, message } : { position, message, hint };
}

/** Anchors and aliases are refused: a scenario is read by people, one line at a time. */
function aliasProblems(text: string, doc: Document, positions: Positions): Problem[] {
  const problems: Problem[] = [];
  visit(doc, {
    Node: (_key, node) => {
      const anchored = !isAlias(node) && node.anchor !== undefined;
      if (!isAlias(node) && !anchored) return;
      const mark = isAlias(node) ? `*${node.source}` : `&${String(node.anchor)}`;
      const at = Math.max(text.lastIndexOf(mark, node.range?.[0] ?? 0), 0); // an anchor stands before its node's range
      const message = `${isAlias(node) ? 'alias' : 'anchor'} '${mark}' is not allowed`;
      problems.push({ position: positions.at(at), message, hint: 'write the value out' });
    },
  });
  return problems;
}

/** Integers were read as bigint, so that none is rounded; those that a number holds exactly become numbers. */
function smallIntegers(v: unknown): unknown {
  if (typeof v === 'bigint') return Number.isSafeInteger(Number(v)) ? Number(v) : v;
  if (Array.isArray(v)) return v.map(smallIntegers);
  if (typeof v !== 'object' || v === null) return v;
  const out: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(v)) {
    Object.defineProperty(out, key, {
      value: smallIntegers(inner),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return out;
}

function complete(raw: RawScenario, catalog: Catalog): Scenario {
  const designs = raw.designs ?? catalog.designs.map((d) => d.name);
  const common: Expectation = expectationOf(raw.expect?.['default']);
  const ids = domids(raw.domains);
  return {
    name: raw.name,
    description: raw.description,
    seed: raw.seed ?? 1,
    memoryMib: sizeMib(raw.memory),
    hypervisor: {
      build: raw.hypervisor?.build ?? 'release',
      quantum: raw.hypervisor?.quantum ?? 0,
      twin: raw.hypervisor?.twin ?? '',
    },
    domains: raw.domains.map((d, i) => completeDomain(raw, d, ids[i] ?? 0, catalog)),
    events: (raw.events ?? []).map((e) => ({ ...e, of: e.of ?? e.destroy })),
    extent:
      raw.duration === undefined
        ? { kind: 'rounds', rounds: raw.rounds ?? DEFAULT_ROUNDS }
        : { kind: 'seconds', seconds: raw.duration },
    designs: [...new Set(designs)],
    checks: raw.checks ?? [...CHECKS],
    expect: Object.fromEntries(designs.map((d) => [d, own(raw, d) ?? common])),
    require: raw.require ?? {},
    faults: (raw.faults ?? []).map(completeFault),
    sweep: sweepOf(raw),
    ...(raw.small === undefined ? {} : { small: completeSmall(raw, catalog.steps) }),
  };
}

const own = (raw: RawScenario, design: string): Expectation | undefined => {
  const e = raw.expect?.[design];
  return e === undefined ? undefined : expectationOf(e);
};

function sweepOf(raw: RawScenario): Scenario['sweep'] {
  const { expect, persistent } = raw.sweep ?? {};
  const complete = (e: typeof expect): SweepExpectations =>
    Object.fromEntries(Object.entries(e ?? {}).map(([design, own]) => [design, own ?? {}]));
  return { expect: complete(expect), persistent: complete(persistent) };
}

function completeDomain(
  raw: RawScenario,
  d: RawScenario['domains'][number],
  domid: number,
  catalog: Catalog,
): DomainSpec {
  return {
    name: d.name,
    domid,
    privileged: d.privileged ?? false,
    memoryMib: sizeMib(d.memory),
    vcpus: d.vcpus,
    kernel: kernelOptions(raw.kernel, d.kernel),
    workloads: (d.workloads ?? []).map((w) => completeWorkload(w, catalog.programs)),
    ...(d.hostile === undefined ? {} : { hostile: hostileOf(d.hostile, honestOf(raw)) }),
  };
}

const honestOf = (raw: RawScenario): string[] => raw.domains.filter((d) => d.hostile === undefined).map((d) => d.name);

type RawWorkload = NonNullable<RawScenario['domains'][number]['workloads']>[number];

function completeWorkload(w: RawWorkload, programs: readonly ProgramEntry[]): Workload {
  const parameters = programs.find((p) => p.name === w.program)?.parameters ?? {};
  const given: Record<string, unknown> = w.with ?? {};
  const filled = Object.entries(parameters).map(([key, p]): [string, ParameterValue] => [
    key,
    (given[key] as ParameterValue | undefined) ?? (p.kind === 'domains' ? [] : p.default),
  ]);
  return { program: w.program, processes: w.processes ?? 1, threads: w.threads ?? 1, with: Object.fromEntries(filled) };
}
