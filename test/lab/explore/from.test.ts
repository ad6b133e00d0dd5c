/** Which tokens a search goes on from, and what they say of the scenario. */
import { describe, expect, test } from 'vitest';
import { loadCatalog } from '../../../src/lab/catalog.js';
import { codeHash } from '../../../src/lab/explore/code-hash.js';
import { fromToken, type Beside, type From } from '../../../src/lab/explore/from.js';
import { encodeToken, scenarioHash, type Counterexample } from '../../../src/lab/explore/token.js';
import { decodeSchedule } from '../../../src/explore/schedule.js';
import { smallScenario } from './scenario.js';

const FILE = 'guests/scenarios/small/exit-revoke.yaml';
const token: Counterexample = {
  scenarioHash: scenarioHash(smallScenario('exit-revoke')),
  codeHash: codeHash(),
  design: 'early-unpin',
  twin: 'xsa-401',
  stepChecks: true,
  leftOut: new Set([3, 6]),
  faults: [{ site: 'gnttab.unmap', nth: 2 }],
  trace: '00c0ffee',
  schedule: { picks: Uint8Array.of(0, 0, 1, 0), choices: [{ actor: 1, nth: 2, what: 3, value: 1 }] },
};
const ALONE: Beside = { designs: undefined, twin: undefined, faults: false };
const catalog = loadCatalog();
const from = (named: string, beside: Partial<Beside> = {}, file = FILE): From =>
  fromToken(named, file, { ...ALONE, ...beside }, catalog);

describe('a token that is gone on from', () => {
  const text = encodeToken(token);

  test('says design, twin, faults, what is left out, and the first steps: all of them unless said', () => {
    const { scenario, prefix } = from(text);
    expect(scenario).toMatchObject({ designs: ['early-unpin'], hypervisor: { twin: 'xsa-401' }, faults: token.faults });
    expect(prefix).toMatchObject({ steps: 4, leftOut: [3, 6] });
    expect(decodeSchedule(prefix.schedule)).toEqual(token.schedule);
    expect(from(`${text}:3`).prefix.steps).toBe(3);
    expect(from(`${text}:0`, { designs: ['early-unpin'], twin: 'xsa-401' }).prefix.steps).toBe(0);
  });

  test.each<[string, () => From, RegExp]>([
    ['more steps than it has', () => from(`${text}:5`), /has 4 steps, and 5 are asked for/],
    ['no token', () => from('nothing:3'), /'nothing' is neither a token nor a file/],
    ['another design', () => from(text, { designs: ['zap-pte'] }), /is of design early-unpin/],
    ['another twin', () => from(text, { twin: 'xsa-402' }), /is of twin xsa-401/],
    ['a twin beside a token of none', () => from(encodeToken({ ...token, twin: '' }), { twin: 'x' }), /of no twin/],
    ['faults besides', () => from(text, { faults: true }), /says which faults/],
    [
      'another scenario',
      () => from(text, {}, FILE.replace('exit-revoke', 'exit-lazy')),
      /not the scenario of this token/,
    ],
    ['other code', () => from(encodeToken({ ...token, codeHash: '00000000' })), /made by other code/],
  ])('is refused with %s', (_what, go, message) => {
    expect(go).toThrow(message);
  });
});
