/** Pins and the type system behind them ([X3]-[X11], [X32]; tapes RULES "Types and pins"). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY, EINVAL, EPERM, ESRCH } from '../../src/abi/errno.js';
import { PAGE_GUEST_KERNEL_HI } from '../../src/abi/pte.js';
import { MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE } from '../../src/abi/mmu.js';
import type { Mfn } from '../../src/abi/frames.js';
import { domain, DOMDYING_alive, DOMDYING_dying } from '../../src/hypervisor/domain.js';
import { poke } from '../../src/sync/primitives.js';
import { BAD_MFN, entry, frameOf, machine, pair, pte, put, RO, RW, single, state, type Dom } from './machine.js';
import { recount, totals } from './recount.js';

let d0: Dom;
let a: Mfn;
let b: Mfn;
let c: Mfn;
beforeEach(() => {
  d0 = single();
  [a, b, c] = d0.frames(3) as [Mfn, Mfn, Mfn];
});
const clean = (): void => {
  expect(recount()).toEqual([]);
  expect(totals()).toEqual([]);
};

describe('pin', () => {
  it('types an empty frame and holds one reference and one type reference', () => {
    expect(d0.pin(1, a)).toBe(0);
    expect(state(a)).toBe('ref 2 l1 1 pinned');
    clean();
  });

  it('a second pin is EINVAL and drops its extra references, at the same and at another level', () => {
    expect(d0.pin(1, a)).toBe(0);
    expect(d0.pin(1, a)).toBe(-EINVAL);
    expect(d0.pin(2, a)).toBe(-EINVAL);
    expect(state(a)).toBe('ref 2 l1 1 pinned');
    expect(d0.pin(2, b)).toBe(0);
    expect(d0.pin(2, b)).toBe(-EINVAL);
    expect(state(b)).toBe('ref 2 l2 1 pinned');
    clean();
  });

  it('for a domain that dies meanwhile is taken back by who made it: its destroyer may have been there before', () => {
    const [p, q] = pair();
    const [l1, l2] = q.frames(2) as [Mfn, Mfn];
    put(l2, 0, pte(l1, RW));
    poke(domain.dying(q.d), DOMDYING_dying);
    expect([p.pin(1, l1, q.domid), state(l1)]).toEqual([0, 'ref 1 none 0']);
    expect([p.pin(2, l2, q.domid), state(l2), state(l1)]).toEqual([0, 'ref 1 none 0', 'ref 1 none 0']);
    poke(domain.dying(q.d), DOMDYING_alive);
    expect([q.pin(2, l2), state(l2)]).toEqual([0, 'ref 2 l2 1 pinned']);
    clean();
  });

  it('an unpin of an unpinned frame is EINVAL, also of a typed one, and changes nothing', () => {
    expect(d0.unpin(a)).toBe(-EINVAL);
    expect(state(a)).toBe('ref 1 none 0');
    put(b, 0, pte(a, RW));
    expect(d0.pin(2, b)).toBe(0);
    expect(state(a)).toBe('ref 2 l1 1');
    expect(d0.unpin(a)).toBe(-EINVAL);
    expect(state(a)).toBe('ref 2 l1 1');
    clean();
  });

  it('a frame that is writable anywhere cannot be typed as a table; mapped read-only it can', () => {
    expect(d0.map(8, pte(a, RW))).toBe(0);
    expect(state(a)).toBe('ref 2 writable 1');
    expect(d0.pin(1, a)).toBe(-EINVAL);
    expect(state(a)).toBe('ref 2 writable 1');
    expect(d0.map(8, pte(a, RO))).toBe(0);
    expect(state(a)).toBe('ref 2 none 0');
    expect(d0.pin(1, a)).toBe(0);
    expect(d0.map(9, pte(a, RO))).toBe(0);
    expect(state(a)).toBe('ref 4 l1 1 pinned');
    expect(d0.map(10, pte(a, RW))).toBe(-EBUSY);
    expect(d0.map(9, pte(a, RW))).toBe(-EBUSY);
    expect(state(a)).toBe('ref 4 l1 1 pinned');
    clean();
  });

  it('nobody else may be the owner: another domain, nobody, beyond memory', () => {
    const [p, q] = pair();
    const [mine] = p.frames(1) as [Mfn];
    const [theirs] = q.frames(1) as [Mfn];
    expect(p.pin(1, theirs)).toBe(-EINVAL);
    expect(p.pin(1, BAD_MFN)).toBe(-EINVAL);
    expect(p.pin(1, theirs, 1)).toBe(0);
    expect(p.pin(1, mine, 1)).toBe(-EINVAL);
    expect(q.pin(1, mine, 0)).toBe(-EPERM);
    expect(q.pin(1, mine, 1)).toBe(-ESRCH);
    expect(p.unpin(theirs, 1)).toBe(0);
    clean();
  });

  it('the code of the bad entry goes up through every level, and everything typed on the way is released', () => {
    const [p, q] = pair();
    const [l1, l2, l3, l4, x] = p.frames(5) as [Mfn, Mfn, Mfn, Mfn, Mfn];
    const [foreign] = q.frames(1) as [Mfn];
    put(l1, 0, pte(x, RW));
    put(l1, 5, pte(foreign, RO));
    put(l2, 3, pte(l1, RW));
    put(l3, 4, pte(l2, RW));
    put(l4, 5, pte(l3, RW));
    for (const [level, m] of [
      [1, l1],
      [2, l2],
      [3, l3],
      [4, l4],
    ] as const) {
      expect(p.pin(level, m)).toBe(-EBUSY);
      for (const t of [l1, l2, l3, l4, x, foreign]) expect(state(t)).toBe('ref 1 none 0');
    }
    put(l1, 5, BAD_MFN_ENTRY);
    expect(p.pin(4, l4)).toBe(-EPERM);
    put(l1, 5, 0);
    put(l2, 9, pte(x, RW | 0x80));
    expect(p.pin(4, l4)).toBe(-EINVAL);
    clean();
  });

  it('a failing entry behind a good subtree gives the subtree back', () => {
    const [l1, l2, l2b] = d0.frames(3) as [Mfn, Mfn, Mfn];
    put(l2, 0, pte(l1, RW));
    put(a, 0, pte(l2, RW));
    put(a, 1, pte(l2b, RW));
    put(l2b, 0, pte(a, RW | 0x10));
    expect(d0.pin(3, a)).toBe(-EINVAL);
    for (const t of [l1, l2, l2b, a]) expect(state(t)).toBe('ref 1 none 0');
    clean();
  });

  it('an unpinned table stays typed while an upper table names it, and can be pinned again', () => {
    put(b, 0, pte(a, RW));
    expect(d0.pin(1, a)).toBe(0);
    expect(d0.pin(2, b)).toBe(0);
    expect(state(a)).toBe('ref 3 l1 2 pinned');
    expect(d0.unpin(a)).toBe(0);
    expect(state(a)).toBe('ref 2 l1 1');
    expect(d0.pin(1, a)).toBe(0);
    expect(d0.unpin(b)).toBe(0);
    expect(state(a)).toBe('ref 2 l1 1 pinned');
    clean();
  });

  it('after the last reference the entries stay as data and hold nothing', () => {
    put(a, 7, pte(b, RW));
    expect(d0.pin(1, a)).toBe(0);
    expect(state(b)).toBe('ref 2 writable 1');
    expect(d0.unpin(a)).toBe(0);
    expect(state(b)).toBe('ref 1 none 0');
    expect(frameOf(entry(a, 7))).toBe(b);
    clean();
  });

  it('stores L1 entries adjusted: kernel ones get bit 52 and U, user ones G; not-present ones stay', () => {
    put(a, 0, pte(b, 0x3));
    put(a, 1, pte(b, 0x7));
    put(a, 2, pte(b, 0x7, PAGE_GUEST_KERNEL_HI));
    put(a, 3, { lo: 0x1234560, hi: 0x77 });
    expect(d0.pin(1, a)).toBe(0);
    expect(entry(a, 0)).toEqual(pte(b, 0x7, PAGE_GUEST_KERNEL_HI));
    expect(entry(a, 1)).toEqual(pte(b, 0x107));
    expect(entry(a, 2)).toEqual(pte(b, 0x7, PAGE_GUEST_KERNEL_HI));
    expect(entry(a, 3)).toEqual({ lo: 0x1234560, hi: 0x77 });
    expect(state(b)).toBe('ref 4 writable 3');
    clean();
  });

  it('cache bits are for domains with devices; PSE, PCD, PWT and G in upper levels for nobody', () => {
    const [p, q] = machine({}, [{ domid: 1 }]) as [Dom, Dom];
    for (const [dom, rc] of [
      [p, 0],
      [q, -EINVAL],
    ] as const) {
      const [l1, x] = dom.frames(2) as [Mfn, Mfn];
      put(l1, 0, pte(x, RW | 0x18));
      expect(dom.pin(1, l1)).toBe(rc);
    }
    for (const bad of [0x8, 0x10, 0x80, 0x100]) {
      const [l2, l1] = p.frames(2) as [Mfn, Mfn];
      put(l2, 0, pte(l1, RW | bad));
      expect(p.pin(2, l2)).toBe(-EINVAL);
      expect(state(l1)).toBe('ref 1 none 0');
    }
    clean();
  });

  it('a batch stops at the first failure and says how many were done', () => {
    const ops = [a, b, a, c].map((m) => ({ cmd: MMUEXT_PIN_L1_TABLE, a1: m }));
    expect(d0.mmuext(ops)).toEqual([-EINVAL, 2]);
    expect(state(c)).toBe('ref 1 none 0');
    expect(d0.mmuext([a, b].map((m) => ({ cmd: MMUEXT_UNPIN_TABLE, a1: m })))).toEqual([0, 2]);
    clean();
  });
});

/** A present entry whose frame lies beyond memory. */
const BAD_MFN_ENTRY = { lo: (0xffff0000 << 12) | RO, hi: 0xfffff >>> 8 };
