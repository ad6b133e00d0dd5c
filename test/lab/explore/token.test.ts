import { describe, expect, test } from 'vitest';
import { LabError } from '../../../src/abi/errors.js';
import { decodeToken, encodeToken, scenarioHash, type Counterexample } from '../../../src/lab/explore/token.js';
import { smallScenario } from './scenario.js';

const token: Counterexample = {
  scenarioHash: '01234567',
  codeHash: '89abcdef',
  design: 'zap-pte',
  twin: 'xsa-401',
  stepChecks: true,
  leftOut: new Set([1, 12]),
  faults: [{ site: 'gnttab.unmap', status: 'eagain', interval: 2 }, { site: 'vcpu.dead' }],
  trace: '00c0ffee',
  schedule: { picks: Uint8Array.of(0, 0, 1, 0), choices: [{ actor: 1, nth: 2, what: 3, value: 1 }] },
};

describe('a token', () => {
  test.each([token, { ...token, twin: '', leftOut: new Set<number>(), stepChecks: false, faults: [] }])(
    'comes back as it was',
    (c) => {
      expect(decodeToken(encodeToken(c))).toEqual(c);
      expect(encodeToken(c)).toMatch(/^[\w.-]+$/);
    },
  );

  test('that is cut off, or none, is refused with a hint', () => {
    const text = encodeToken(token);
    for (const wrong of ['', 'x1', text.slice(0, -1), text.slice(3), text.replace('x1', 'x2'), `${text}.a`]) {
      expect(() => decodeToken(wrong)).toThrow(LabError);
    }
  });
});

test("a scenario's hash is of what executions depend on", () => {
  const s = smallScenario('exit-revoke');
  const other = smallScenario('exit-lazy');
  expect(scenarioHash({ ...s, name: 'x', description: 'y', expect: {} })).toBe(scenarioHash(s));
  expect(scenarioHash({ ...s, seed: 2 })).not.toBe(scenarioHash(s));
  expect(scenarioHash({ ...s, memoryMib: 8 })).not.toBe(scenarioHash(s));
  expect(scenarioHash(other)).not.toBe(scenarioHash(s));
});
