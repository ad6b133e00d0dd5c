import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { record, type Ref } from '../../src/shm/record.js';

describe('record', () => {
  it('lays fields so that they never overlap, and aligns those of two words or more', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 1000 }), (fields, at) => {
        const shape = Object.fromEntries(fields.map((size, i) => [`f${String(i)}`, size]));
        const r = record('thing', shape);
        const base = (2 * at) as Ref<'thing'>;
        const used = new Set<number>();
        for (const [name, size] of Object.entries(shape)) {
          const start = (r[name] as (r: Ref<'thing'>) => number)(base);
          if (size >= 2) expect(start % 2).toBe(0);
          for (let i = 0; i < size; i++) {
            expect(used.has(start + i)).toBe(false);
            used.add(start + i);
          }
        }
        expect(Math.min(...used)).toBe(base);
        expect(Math.max(...used)).toBeLessThan(base + r.words);
        expect(r.words % 2).toBe(0);
      }),
    );
  });

  it('is frozen and says its kind', () => {
    const r = record('thing', { a: 1 });
    expect(r.kind).toBe('thing');
    expect(Object.isFrozen(r)).toBe(true);
  });

  it('takes addresses of its own kind only', () => {
    const vma = record('vma', { start: 1 });
    const page = record('page', { count: 1 });
    const v = 64 as Ref<'vma'>;
    expect(vma.start(v)).toBe(64);
    // @ts-expect-error a vma is no page
    expect(page.count(v)).toBe(64);
    // @ts-expect-error a plain number is no reference
    expect(vma.start(64)).toBe(64);
    // @ts-expect-error no such field
    expect(vma.end).toBeUndefined();
  });
});
