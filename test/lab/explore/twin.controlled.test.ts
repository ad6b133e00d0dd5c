/** A twin of the hypervisor named by a scenario or a flag: on in the machine that is searched, and apart in its token. */
import { describe, expect, test } from 'vitest';
import { LabError } from '../../../src/abi/errors.js';
import { interleave } from '../../../src/explore/loop.js';
import { randomWalk } from '../../../src/explore/random-walk.js';
import { twinOn } from '../../../src/hypervisor/twins.js';
import { scenarioHash } from '../../../src/lab/explore/token.js';
import { override } from '../../../src/lab/override.js';
import { smallScenario } from './scenario.js';
import { build } from './small.js';

describe('a scenario with a twin', () => {
  const right = smallScenario('exit-revoke');
  const wrong = override(right, { twin: 'total-unlocked' }, right.designs);

  test('has it on in the machine that is searched, in every execution', () => {
    const { program } = build(wrong, 'zap-pte');
    for (let i = 0; i < 2; i++) {
      interleave(program.start(), randomWalk(i));
      expect(twinOn()?.name).toBe('total-unlocked');
    }
    build(right, 'zap-pte');
    expect(twinOn()).toBe(undefined);
  });

  test('is the same scenario: its token names the twin apart', () => {
    expect(scenarioHash(wrong)).toBe(scenarioHash(right));
    expect(override(wrong, { twin: '' }, right.designs)).toEqual(right);
  });

  test('is refused when there is no such twin', () => {
    expect(() => override(right, { twin: 'xsa-402' }, right.designs)).toThrow(LabError);
  });
});
