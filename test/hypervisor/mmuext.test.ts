/** mmuext operations other than pins ([X31]-[X34]; tapes RULES). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EACCES, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH } from '../../src/abi/errno.js';
import { DOMID_IO, DOMID_SELF, makeVa, type Mfn } from '../../src/abi/frames.js';
import * as op from '../../src/abi/mmu.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek } from '../../src/sync/primitives.js';
import { BAD_MFN, entry, pair, pte, put, RO, RW, single, state, va64, type Arg, type Dom } from './machine.js';
import { recount } from './recount.js';

let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
beforeEach(() => {
  d0 = single();
  t = d0.frames(6);
});
const one = (d: Dom, cmd: number, a1: Arg = 0, a2: Arg = 0, dom = DOMID_SELF as number): number =>
  d.mmuext([{ cmd, a1, a2 }], dom)[0];
const clean = (): void => {
  expect(recount()).toEqual([]);
};

describe('base pointers', () => {
  it('validate the new L4, hold it, and let go of the old, which decays unless it is pinned', () => {
    put(at(0), 272, pte(d0.l3, RW));
    const old = d0.l4;
    expect(one(d0, op.MMUEXT_NEW_BASEPTR, at(0))).toBe(0);
    expect([state(at(0)), state(old)]).toEqual(['ref 2 l4 1', 'ref 1 none 0']);
    expect(peek(vcpu.cr3(d0.cpu)) - 1).toBe(at(0));
    expect(one(d0, op.MMUEXT_NEW_BASEPTR, at(0))).toBe(0);
    expect(state(at(0))).toBe('ref 2 l4 1');
    clean();
  });

  it('refuse what is no L4 of the caller’s, and stay', () => {
    expect(d0.pin(1, at(1))).toBe(0);
    for (const bad of [at(1), BAD_MFN, 0] as Arg[]) expect(one(d0, op.MMUEXT_NEW_BASEPTR, bad)).toBe(-EINVAL);
    expect(peek(vcpu.guestTable(d0.cpu)) - 1).toBe(d0.l4);
    clean();
  });

  it('for user mode may be any L4, even one without the kernel; 0 takes it away', () => {
    expect(one(d0, op.MMUEXT_NEW_USER_BASEPTR, at(0))).toBe(0);
    expect(state(at(0))).toBe('ref 2 l4 1');
    expect(one(d0, op.MMUEXT_NEW_USER_BASEPTR, at(0))).toBe(0);
    expect(one(d0, op.MMUEXT_NEW_USER_BASEPTR, d0.l4)).toBe(0);
    expect([state(at(0)), state(d0.l4)]).toEqual(['ref 1 none 0', 'ref 3 l4 2']);
    expect(one(d0, op.MMUEXT_NEW_USER_BASEPTR, 0)).toBe(0);
    expect(state(d0.l4)).toBe('ref 2 l4 1');
    expect(peek(vcpu.cr3(d0.cpu)) - 1).toBe(d0.l4);
    clean();
  });

  it('keep a table typed that is unpinned while in use', () => {
    expect(d0.pin(4, d0.l4)).toBe(0);
    expect(state(d0.l4)).toBe('ref 3 l4 2 pinned');
    expect(d0.unpin(d0.l4)).toBe(0);
    expect(state(d0.l4)).toBe('ref 2 l4 1');
    clean();
  });
});

describe('clear and copy', () => {
  it('want the target writable, and leave no reference behind', () => {
    put(at(0), 5, 0x1234);
    put(at(1), 7, 0x77);
    expect(one(d0, op.MMUEXT_COPY_PAGE, at(1), at(0))).toBe(0);
    expect([entry(at(1), 5).lo, entry(at(1), 7).lo]).toEqual([0x1234, 0]);
    expect(one(d0, op.MMUEXT_CLEAR_PAGE, at(1))).toBe(0);
    expect(entry(at(1), 5).lo).toBe(0);
    expect(d0.pin(1, at(2))).toBe(0);
    expect(one(d0, op.MMUEXT_CLEAR_PAGE, at(2))).toBe(-EINVAL);
    expect(one(d0, op.MMUEXT_COPY_PAGE, at(2), at(0))).toBe(-EINVAL);
    expect(one(d0, op.MMUEXT_COPY_PAGE, at(1), at(2))).toBe(0);
    expect(one(d0, op.MMUEXT_COPY_PAGE, at(1), BAD_MFN)).toBe(-EINVAL);
    expect(one(d0, op.MMUEXT_CLEAR_PAGE, BAD_MFN)).toBe(-EINVAL);
    expect([state(at(0)), state(at(1)), state(at(2))]).toEqual(['ref 1 none 0', 'ref 1 none 0', 'ref 2 l1 1 pinned']);
    clean();
  });
});

describe('operations on processors', () => {
  it('flush here, everywhere, or a set of vCPUs', () => {
    const time = (): number => peek(vcpu.flushTime(d0.cpu));
    d0.wide(900, 1);
    for (const [cmd, flushes] of [
      [op.MMUEXT_TLB_FLUSH_LOCAL, true],
      [op.MMUEXT_TLB_FLUSH_ALL, true],
      [op.MMUEXT_TLB_FLUSH_MULTI, true],
      [op.MMUEXT_INVLPG_LOCAL, false],
      [op.MMUEXT_INVLPG_ALL, false],
      [op.MMUEXT_INVLPG_MULTI, false],
    ] as const) {
      const before = time();
      expect(one(d0, cmd, va64(makeVa(272)), d0.at(900))).toBe(0);
      expect(time() !== before).toBe(flushes);
    }
    expect(one(d0, op.MMUEXT_TLB_FLUSH_MULTI, 0, va64(makeVa(272, 9)))).toBe(-EINVAL);
  });

  it('check their arguments and rights: cache flushes need devices, an LDT an address', () => {
    const [p, q] = pair();
    expect([one(p, op.MMUEXT_FLUSH_CACHE), one(p, op.MMUEXT_FLUSH_CACHE_GLOBAL)]).toEqual([0, 0]);
    expect([one(q, op.MMUEXT_FLUSH_CACHE), one(q, op.MMUEXT_FLUSH_CACHE_GLOBAL)]).toEqual([-EACCES, -EINVAL]);
    expect(one(p, op.MMUEXT_SET_LDT, va64(makeVa(272)), 8)).toBe(0);
    expect(one(p, op.MMUEXT_SET_LDT, 0, 0)).toBe(0);
    expect(one(p, op.MMUEXT_SET_LDT, va64(makeVa(272)), 8193)).toBe(-EINVAL);
    expect(one(p, op.MMUEXT_SET_LDT, va64(makeVa(272, 0, 0, 0, 8)), 1)).toBe(-EINVAL);
    expect(one(p, op.MMUEXT_SET_LDT, va64(makeVa(260)), 1)).toBe(-EINVAL);
  });
});

describe('whom an operation may concern', () => {
  it('flushes, bases and LDTs only oneself; super pages nobody; unknown commands are ENOSYS', () => {
    const [p, q] = pair();
    for (const cmd of [5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 18]) expect(one(p, cmd, 0, 0, 1)).toBe(-EPERM);
    for (const cmd of [op.MMUEXT_MARK_SUPER, op.MMUEXT_UNMARK_SUPER]) expect(one(p, cmd, 0, 0, 1)).toBe(-EOPNOTSUPP);
    for (const cmd of [14, 21, 77]) expect(one(p, cmd)).toBe(-ENOSYS);
    expect(one(p, 6, 0, 0, 0)).toBe(-ESRCH);
    expect(one(p, 6, 0, 0, 55)).toBe(-ESRCH);
    expect(one(q, 6, 0, 0, 0)).toBe(-EPERM);
    expect(one(q, 6, 0, 0, DOMID_IO)).toBe(-EPERM);
    expect(one(q, 6)).toBe(0);
  });

  it('another domain’s frames by the control domain', () => {
    const [p, q] = pair();
    const [f] = q.frames(1) as [Mfn];
    expect(one(p, op.MMUEXT_CLEAR_PAGE, f, 0, 1)).toBe(0);
    expect([p.pin(1, f, 1), p.unpin(f, 1)]).toEqual([0, 0]);
    expect(p.mapForeign(8, pte(f, RO), 1)).toBe(0);
    clean();
  });
});
