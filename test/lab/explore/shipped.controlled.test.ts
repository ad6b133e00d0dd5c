/** The small scenarios that are shipped: a first look at each under every design; `npm run explore:all` searches all. */
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exhaustive } from '../../../src/explore/exhaustive.js';
import { always, atMost } from '../../../src/explore/limit.js';
import { search } from '../../../src/explore/search.js';
import { CHOICE } from '../../../src/sync/choices.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

const EXECUTIONS = 2;
const NONE = { what: CHOICE.fault, most: 0, name: 'faults' };

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
      // Where faults are planned, once without them and once with all of them.
      const strategies = [
        atMost(exhaustive(2), NONE),
        ...(scenario.faults.length === 0 ? [] : [always(exhaustive(2), CHOICE.fault)]),
      ];
      const rules = strategies.flatMap((strategy) => {
        const r = search(program, strategy, { executions: EXECUTIONS, bound: 200_000, races: true });
        return r.found.flatMap((f) => f.findings.map((x) => x.rule));
      });
      if (says?.kind === 'breaks') expect([design, ...rules]).toEqual(expect.arrayContaining([...says.breaks]));
      else expect([design, rules]).toEqual([design, []]);
    }
  });
});
