/** Linear tables ([X17], XSA-240, XSA-309; tapes RULES). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY, EINVAL } from '../../src/abi/errno.js';
import { ROOT_LINEAR, ROOT_XEN_FIRST, ROOT_XEN_LAST } from '../../src/abi/pte.js';
import type { Mfn } from '../../src/abi/frames.js';
import { linearCount, stampWord } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import { entry, frameOf, pte, put, RO, RW, single, state, type Dom } from './machine.js';
import { recount } from './recount.js';

let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
const links = (m: Mfn): number => linearCount(peek(stampWord(m)));
const clean = (): void => {
  expect(recount()).toEqual([]);
};

describe.each([2, 3, 4])('an L%i', (level) => {
  beforeEach(() => {
    d0 = single();
    t = d0.frames(6);
  });

  it('may hold read-only entries to itself, which take nothing', () => {
    put(at(0), 1, pte(at(0), RO));
    expect(d0.pin(level, at(0))).toBe(0);
    expect(state(at(0))).toBe(`ref 2 l${String(level)} 1 pinned`);
    expect(links(at(0))).toBe(0);
    expect(d0.set(at(0), 2, pte(at(0), RO))).toBe(0);
    clean();
  });

  it('may not hold writable ones, to itself or to another', () => {
    put(at(0), 1, pte(at(0), RW));
    expect(d0.pin(level, at(0))).toBe(-EINVAL);
    expect(d0.pin(level, at(1))).toBe(0);
    expect(d0.pin(level, at(2))).toBe(0);
    expect(d0.set(at(1), 0, pte(at(1), RW))).toBe(-EINVAL);
    expect(d0.set(at(1), 0, pte(at(2), RW))).toBe(-EINVAL);
    expect(d0.set(at(1), 0, pte(at(2), RO))).toBe(0);
    expect(d0.set(at(1), 0, pte(at(2), RW))).toBe(-EINVAL);
    clean();
  });

  it('may link to another validated one, which keeps that typed; both counts show it', () => {
    expect(d0.pin(level, at(1))).toBe(0);
    expect(d0.pin(level, at(2))).toBe(0);
    expect(d0.set(at(1), 0, pte(at(2), RO))).toBe(0);
    expect(d0.set(at(1), 9, pte(at(2), RO))).toBe(0);
    expect([links(at(1)), links(at(2))]).toEqual([2, -2]);
    expect(d0.unpin(at(2))).toBe(0);
    expect(state(at(2))).toBe(`ref 3 l${String(level)} 2`);
    expect(d0.set(at(1), 0, 0)).toBe(0);
    expect([links(at(1)), links(at(2))]).toEqual([1, -1]);
    expect(d0.unpin(at(1))).toBe(0);
    for (const m of [at(1), at(2)]) expect(state(m)).toBe('ref 1 none 0');
    clean();
  });

  it('takes part in no chains', () => {
    for (const i of [1, 2, 3]) expect(d0.pin(level, at(i))).toBe(0);
    expect(d0.set(at(1), 0, pte(at(2), RO))).toBe(0);
    expect(d0.set(at(2), 0, pte(at(3), RO))).toBe(-EINVAL);
    expect(d0.set(at(3), 0, pte(at(1), RO))).toBe(-EINVAL);
    expect(d0.set(at(2), 0, pte(at(2), RO))).toBe(0);
    expect([links(at(1)), links(at(2)), links(at(3))]).toEqual([1, -1, 0]);
    clean();
  });

  it('that is not validated yet is no target: it is typed one level lower, or refused', () => {
    expect(d0.pin(level, at(1))).toBe(0);
    expect(d0.set(at(1), 0, pte(at(2), RO))).toBe(0);
    expect(state(at(2))).toBe(`ref 2 l${String(level - 1)} 1`);
    put(at(3), 0, pte(at(4), RO));
    put(at(4), 0, pte(at(3), RO));
    expect(d0.pin(level, at(3))).toBe(level === 2 ? TWO_L2S : -EINVAL);
    clean();
  });
});
/** Two L2s naming each other: each becomes the other's L1, whose entry to an L2 in use is an ordinary read-only mapping. */
const TWO_L2S = 0;

describe('an L1', () => {
  it('maps tables read-only like any frame, itself too; never writable', () => {
    d0 = single();
    t = d0.frames(3);
    put(at(0), 0, pte(at(0), RO));
    put(at(0), 1, pte(at(1), RO));
    expect(d0.pin(2, at(1))).toBe(0);
    expect(d0.pin(1, at(0))).toBe(0);
    expect(state(at(0))).toBe('ref 3 l1 1 pinned');
    expect(d0.set(at(0), 0, pte(at(0), RW))).toBe(-EBUSY);
    expect(d0.set(at(0), 1, pte(at(1), RW))).toBe(-EBUSY);
    clean();
  });
});

describe("Xen's slots of an L4", () => {
  beforeEach(() => {
    d0 = single();
    t = d0.frames(3);
  });

  it('are written over at validation: the table itself in 258, nothing reachable for a guest', () => {
    for (let i = ROOT_XEN_FIRST; i <= ROOT_XEN_LAST; i++) put(at(0), i, pte(at(1), RW));
    expect(d0.pin(4, at(0))).toBe(0);
    expect(frameOf(entry(at(0), ROOT_LINEAR))).toBe(at(0));
    for (let i = ROOT_XEN_FIRST; i <= ROOT_XEN_LAST; i++) {
      const e = entry(at(0), i);
      expect(e.lo & 4).toBe(0);
      if ((e.lo & 1) !== 0) expect(frameOf(e)).not.toBe(at(1));
    }
    expect(state(at(1))).toBe('ref 1 none 0');
    clean();
  });

  it('refuse updates, and stay behind after the last reference, so that the frame pins as nothing smaller', () => {
    expect(d0.pin(4, at(0))).toBe(0);
    for (let i = ROOT_XEN_FIRST; i <= ROOT_XEN_LAST; i++) expect(d0.set(at(0), i, 0)).toBe(-EINVAL);
    expect(d0.unpin(at(0))).toBe(0);
    expect(frameOf(entry(at(0), ROOT_LINEAR))).toBe(at(0));
    for (const level of [1, 2, 3]) expect(d0.pin(level, at(0))).toBeLessThan(0);
    for (let i = ROOT_XEN_FIRST; i <= ROOT_XEN_LAST; i++) expect(d0.set(at(0), i, 0)).toBe(0);
    expect(d0.pin(1, at(0))).toBe(0);
    clean();
  });
});
