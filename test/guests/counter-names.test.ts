/** Counters and warnings are named by their place: each table stands in the order of its numbers. */
import { describe, expect, it } from 'vitest';
import { COUNT, WARN, WARNING_NAMES } from '../../guests/kernel/counters.js';

describe('names by place', () => {
  it.each(Object.entries(WARN))('warning %s is the one of its number', (name, number) => {
    expect(WARNING_NAMES[number]).toBe(name);
  });
  it('counters are dense and in order', () => {
    expect(Object.values(COUNT)).toEqual(Object.keys(COUNT).map((_, i) => i));
  });
});
