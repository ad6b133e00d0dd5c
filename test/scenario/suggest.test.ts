import { fc, test as check } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { distance, hintFor, nearest } from '../../src/scenario/suggest.js';

check.prop([fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 })])(
  'distance is symmetric and zero only for equals',
  (a, b) => {
    expect(distance(a, b)).toBe(distance(b, a));
    expect(distance(a, b) === 0).toBe(a === b);
    expect(distance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
  },
);

test('a transposition is one slip', () => {
  expect(distance('vcpus', 'vpcus')).toBe(1);
});

test('a name that is far from all gets the list instead', () => {
  expect(nearest('quux', ['memory', 'domains'])).toBeUndefined();
  expect(hintFor('quux', ['memory', 'domains'])).toBe('one of: memory, domains');
});
