import { describe, expect, test } from 'vitest';
import { ScenarioError } from '../../src/scenario/error.js';
import { parseScenario } from '../../src/scenario/load.js';
import { catalog } from './catalog.js';

const head = `name: small
description: a small one
memory: 4MiB
domains:
  - { name: dom0, privileged: true, memory: 1MiB, vcpus: 2 }
  - { name: front, memory: 1MiB, vcpus: 1 }
`;
const parse = (small: string) => parseScenario('s.yaml', `${head}small:\n${small}`, catalog);
function complaints(small: string): string[] {
  try {
    parse(small);
  } catch (e) {
    if (e instanceof ScenarioError)
      return e.problems.map((p) => `${String(p.position.line)}: ${p.message} (${p.hint ?? ''})`);
    throw e;
  }
  throw new Error('the scenario was accepted');
}

describe('the small section', () => {
  test('is resolved: who, what, domains as numbers, defaults filled in', () => {
    const s = parse(`  setup:
    - front.0: [grant  dom0, grant dom0 2]
    - dom0.1: []
  race: { dom0.0: [exit], front.0: [revoke 3], control: [destroy front] }
`);
    expect(s.small?.setup).toEqual([
      {
        domain: 'front',
        vcpu: 0,
        steps: [
          { name: 'grant', args: [0, 1], text: 'grant dom0' },
          { name: 'grant', args: [0, 2], text: 'grant dom0 2' },
        ],
      },
      { domain: 'dom0', vcpu: 1, steps: [] },
    ]);
    expect(s.small?.race.map((l) => [l.domain, l.vcpu, l.steps.map((x) => x.args)])).toEqual([
      ['dom0', 0, [[]]],
      ['front', 0, [[3]]],
      ['', 0, [[1]]],
    ]);
    expect(s.small?.bound).toBeGreaterThan(0);
  });

  test.each([
    ['{ dom0.0: [exot], front.0: [] }', "a vCPU has no step 'exot' (did you mean 'exit'?)"],
    ['{ dom0.0: [destroy front], front.0: [] }', "a vCPU has no step 'destroy'"],
    ['{ control: [exit], front.0: [] }', "the control plane has no step 'exit'"],
    ['{ dom0.2: [exit], front.0: [] }', 'dom0 has 2 vCPUs, counted from 0'],
    ['{ dom1.0: [exit], front.0: [] }', "no domain is named 'dom1' (did you mean 'dom0'?)"],
    ['{ dom0.0: [grant front 5], front.0: [] }', "'pages' is a number from 1 to 4 (grant <peer> [pages=1])"],
    ['{ dom0.0: [grant], front.0: [] }', "argument 'peer' is missing"],
    ['{ dom0.0: [grant dom0], front.0: [] }', "no other domain is named 'dom0'"],
    ['{ dom0.0: [revoke], front.0: [] }', "argument 'grant' is missing (revoke <grant>)"],
    ['{ dom0.0: [exit 1], front.0: [] }', "'exit' has too many arguments"],
    ['{ dom0.0: [exit] }', 'a race needs two sides'],
  ])('%s is refused: %s', (race, message) => {
    expect(complaints(`  race: ${race}\n`).join('\n')).toContain(message);
  });

  test('a name that is no vCPU is refused at its place', () => {
    expect(complaints('  race: { dom0: [exit], front.0: [] }\n')).toEqual([
      expect.stringMatching(/^8: .*expected a vCPU such as 'dom0\.0', or 'control'/),
    ]);
  });
});
