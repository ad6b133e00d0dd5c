/** The small scenarios that are shipped: a first look at each under every design; `npm run explore:all` searches all. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exhaustive } from '../../../src/explore/exhaustive.js';
import { search } from '../../../src/explore/search.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

const EXECUTIONS = 2;

const names = readdirSync('guests/scenarios/small')
  .filter((f) => f.endsWith('.yaml'))
  .map((f) => f.slice(0, -'.yaml'.length));

describe.each(names)('%s', (name) => {
  test('does at first sight what it says', { timeout: 60_000 }, () => {
    const scenario = smallScenario(name);
    for (const design of scenario.designs) {
      const says = scenario.expect[design];
      if (says?.kind === 'refused') continue;
      const { program } = build(scenario, design);
      const r = search(program, exhaustive(2), { executions: EXECUTIONS, bound: 200_000, races: true });
      const rules = r.found.flatMap((f) => f.findings.map((x) => x.rule));
      if (says?.kind === 'breaks') expect([design, ...rules]).toEqual(expect.arrayContaining([...says.breaks]));
      else expect([design, rules]).toEqual([design, []]);
    }
  });
});
