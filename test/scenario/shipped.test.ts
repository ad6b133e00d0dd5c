/** The shipped scenarios and the schema beside them, against the guests that exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadCatalog } from '../../src/lab/catalog.js';
import { readScenario } from '../../src/lab/scenario-file.js';
import { scenarioJsonSchema } from '../../src/scenario/schema.js';
import { DESIGNS } from '../../guests/designs/registry.js';
import { STEPS } from '../../guests/workloads/steps/run.js';
import { ARGUMENTS, PROGRAMS } from '../../guests/workloads/programs.js';

const FOLDER = 'guests/scenarios';
const catalog = loadCatalog();
const files = readdirSync(FOLDER).filter((f) => f.endsWith('.yaml'));
const scenarios = files.map((f) => readScenario(`${FOLDER}/${f}`, catalog));
const faulty = readdirSync(`${FOLDER}/faults`).map((f) => readScenario(`${FOLDER}/faults/${f}`, catalog));

test('the catalog names the designs of the registry, in its order, and the buggy ones by their names', () => {
  expect(catalog.designs.map((d) => d.name)).toEqual(DESIGNS.map((d) => d.name));
  for (const d of catalog.designs) {
    expect([d.name, d.buggy]).toEqual([d.name, d.name.endsWith('-buggy')]);
    expect([d.name, d.rule !== undefined]).toEqual([d.name, d.buggy]);
  }
});

test('the catalog names the programs and their arguments, in the order in which tasks carry them', () => {
  const known = new Set(PROGRAMS.map((p) => p.name));
  for (const p of catalog.programs) {
    expect(known).toContain(p.name);
    const carried = ARGUMENTS[p.name] ?? [];
    expect(Object.keys(p.parameters)).toEqual(carried.map((a) => a.key));
    for (const a of carried) {
      const parameter = p.parameters[a.key];
      expect(parameter?.kind === 'choice' ? parameter.values : undefined).toEqual(a.choices);
    }
  }
});

test('the catalog names the steps of small scenarios, and which of them need a process', () => {
  const guests = catalog.steps.filter((e) => e.by !== 'control');
  expect(guests.map((e) => [e.name, e.by === 'process'])).toEqual(STEPS.map((e) => [e.name, e.process]));
});

test('the schema beside the scenarios is the one that is checked', () => {
  const text = readFileSync(`${FOLDER}/scenario.schema.json`, 'utf8');
  expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(scenarioJsonSchema(catalog))));
});

describe.each(scenarios)('$name', (s) => {
  test('is named as its file, says what it needs to have met, and tells editors its schema', () => {
    expect(files).toContain(`${s.name}.yaml`);
    expect(Object.keys(s.require).length).toBeGreaterThan(0);
    const text = readFileSync(`${FOLDER}/${s.name}.yaml`, 'utf8');
    expect(text.split('\n', 1)).toEqual(['# yaml-language-server: $schema=scenario.schema.json']);
  });

  test('runs every design', () => {
    expect(s.designs).toEqual(catalog.designs.map((d) => d.name));
  });
});

test('every design that is known to be wrong, and the blind one, must break in some scenario; each right one is clean in some', () => {
  const broken = (design: string): boolean =>
    faulty.some((s) =>
      Object.values(s.sweep.expect[design] ?? {}).some((o) => o.includes('leaked') || o.includes('corrupted')),
    );
  const kinds = (design: string): string[] => scenarios.map((s) => s.expect[design]?.kind ?? 'clean');
  for (const d of catalog.designs) {
    if (d.underFaults === true) expect([d.name, broken(d.name)]).toEqual([d.name, true]);
    else if (d.buggy || d.name === 'early-unpin')
      expect([d.name, kinds(d.name)]).toEqual([d.name, expect.arrayContaining(['breaks'])]);
    else expect([d.name, kinds(d.name)]).toEqual([d.name, expect.arrayContaining(['clean'])]);
  }
});

test('in the teardown scenario three domains have two vCPUs each, and every known-wrong design must break', () => {
  const s = scenarios.find((x) => x.name === 'teardown');
  expect(s?.domains.map((d) => d.vcpus)).toEqual([2, 2, 2]);
  for (const d of catalog.designs.filter((x) => x.buggy && x.underFaults !== true))
    expect([d.name, s?.expect[d.name]?.kind]).toEqual([d.name, 'breaks']);
});

describe('small scenarios', () => {
  const small = readdirSync(`${FOLDER}/small`).map((f) => readScenario(`${FOLDER}/small/${f}`, catalog));
  test('each is named as its file and has a race', () => {
    expect(small.map((s) => `${s.name}.yaml`)).toEqual(readdirSync(`${FOLDER}/small`));
    for (const s of small) expect([s.name, s.small?.race.length]).not.toEqual([s.name, undefined]);
  });
});
