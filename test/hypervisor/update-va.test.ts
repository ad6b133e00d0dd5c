/** update_va_mapping ([X35]) and stores through read-only mappings of L1s ([X36]). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY, EFAULT, EINVAL, EPERM, ESRCH } from '../../src/abi/errno.js';
import { makeVa, type Mfn, type Va } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import { PAGE_GUEST_KERNEL_HI } from '../../src/abi/pte.js';
import { PTWR_DIFFERENT, PTWR_DONE, PTWR_UNHANDLED, ptwrEmulate } from '../../src/hypervisor/ptwr.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, run } from '../../src/sync/primitives.js';
import { entry, pair, pte, RO, RW, single, state, va64, windowVa, type Dom, type Wide } from './machine.js';
import { recount } from './recount.js';

let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
beforeEach(() => {
  d0 = single();
  t = d0.frames(4);
});
const clean = (): void => {
  expect(recount()).toEqual([]);
};

describe('update_va_mapping', () => {
  it('changes the entry that maps the address now', () => {
    expect(d0.map(9, pte(at(0), RW))).toBe(0);
    expect(d0.slot(9)).toEqual(pte(at(0), RW | 0x100));
    expect(d0.map(9, 0)).toBe(0);
    expect(state(at(0))).toBe('ref 1 none 0');
    clean();
  });

  it('is EINVAL where no L1 is mapped, in Xen’s part, and at addresses that are none', () => {
    for (const address of [
      va64(makeVa(272, 1)),
      va64(makeVa(272, 0, 1)),
      va64(makeVa(258)),
      { lo: 0, hi: 0x00008000 },
      va64(makeVa(5)),
    ]) {
      expect(d0.call(nr.HYPERVISOR_update_va_mapping, address, pte(at(0), RW), 0)).toBe(-EINVAL);
    }
    clean();
  });

  it('has written the entry when it finds the bitmap of vCPUs unreadable', () => {
    const bad = { lo: va64(makeVa(272, 9)).lo | mmu.UVMF_INVLPG, hi: va64(makeVa(272, 9)).hi };
    expect(d0.map(8, pte(at(0), RO), bad)).toBe(-EFAULT);
    expect(d0.slot(8)).toEqual(pte(at(0), RO | 0x100));
    expect(d0.map(8, pte(d0.l1, RW), bad)).toBe(-EBUSY);
    clean();
  });

  it('flushes as the flags say: not at all, here, everywhere, or the vCPUs of a bitmap', () => {
    const time = (): number => peek(vcpu.flushTime(d0.cpu));
    const start = time();
    expect(d0.map(8, pte(at(0), RO), mmu.UVMF_NONE)).toBe(0);
    expect(d0.map(8, pte(at(0), RO), 3)).toBe(0);
    d0.wide(100, 2);
    const here = d0.at(100);
    expect(d0.map(8, pte(at(0), RO), { lo: here.lo | mmu.UVMF_TLB_FLUSH, hi: here.hi })).toBe(0);
    expect(time()).toBe(start);
    d0.wide(100, 1);
    expect(d0.map(8, pte(at(0), RO), { lo: here.lo | mmu.UVMF_TLB_FLUSH, hi: here.hi })).toBe(0);
    const third = time();
    expect(third).not.toBe(start);
    expect(d0.map(8, pte(at(0), RO), mmu.UVMF_TLB_FLUSH | mmu.UVMF_ALL)).toBe(0);
    expect(time()).not.toBe(third);
  });

  it('of another domain’s frame needs its name and the right to it', () => {
    const [p, q] = pair();
    const [theirs] = q.frames(1) as [Mfn];
    const [mine] = p.frames(1) as [Mfn];
    expect(p.map(8, pte(theirs, RO))).toBe(-EBUSY);
    expect(p.mapForeign(8, pte(theirs, RW), 1)).toBe(0);
    expect(state(theirs)).toBe('ref 2 writable 1');
    expect(p.mapForeign(9, pte(theirs, RW), 9)).toBe(-ESRCH);
    expect(p.mapForeign(9, pte(theirs, RW), 0)).toBe(-ESRCH);
    expect(q.mapForeign(9, pte(mine, RW), 0)).toBe(-EPERM);
    clean();
  });
});

describe('a store through a read-only mapping', () => {
  const page = windowVa(8);
  let dom: Dom;
  let l1: Mfn;
  beforeEach(() => {
    dom = d0;
    l1 = at(0);
  });
  const store = (offset: number, bytes: number, v: Wide, old?: Wide): number =>
    run(() =>
      ptwrEmulate(dom.cpu, (page + offset) as Va, bytes, v.lo, v.hi, old !== undefined, old?.lo ?? 0, old?.hi ?? 0),
    );

  it('of an L1 in use is a checked update of the entry', () => {
    expect([d0.pin(1, l1), d0.map(8, pte(l1, RO))]).toEqual([0, 0]);
    expect(store(8 * 5, 8, pte(at(1), 0x3))).toBe(PTWR_DONE);
    expect(entry(l1, 5)).toEqual(pte(at(1), 0x7, PAGE_GUEST_KERNEL_HI));
    expect(state(at(1))).toBe('ref 2 writable 1');
    expect(store(8 * 5, 8, { lo: 0, hi: 0 })).toBe(PTWR_DONE);
    expect(state(at(1))).toBe('ref 1 none 0');
    clean();
  });

  it('refused or anywhere else is none of ours: the guest gets the fault', () => {
    expect([d0.pin(1, l1), d0.map(8, pte(l1, RO))]).toEqual([0, 0]);
    expect(store(0, 8, pte(l1, RW))).toBe(PTWR_UNHANDLED);
    expect(store(4, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    expect(d0.unpin(l1)).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    expect(d0.pin(2, l1)).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    expect(d0.map(8, pte(at(1), RO))).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    expect(d0.map(8, 0)).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    clean();
  });

  it('may be a compare-exchange, and may be smaller than an entry', () => {
    expect([d0.pin(1, l1), d0.map(8, pte(l1, RO)), d0.set(l1, 0, pte(at(1), RO))]).toEqual([0, 0, 0]);
    const now = entry(l1, 0);
    expect(store(0, 8, pte(at(2), RO), { lo: now.lo ^ 0x40, hi: now.hi })).toBe(PTWR_DIFFERENT);
    expect([state(at(1)), state(at(2))]).toEqual(['ref 2 none 0', 'ref 1 none 0']);
    expect(store(0, 8, pte(at(2), RO), now)).toBe(PTWR_DONE);
    expect([state(at(1)), state(at(2))]).toEqual(['ref 1 none 0', 'ref 2 none 0']);
    expect(store(0, 4, { lo: pte(at(1), RW).lo, hi: 0 })).toBe(PTWR_DONE);
    expect([state(at(1)), state(at(2))]).toEqual(['ref 2 writable 1', 'ref 1 none 0']);
    expect(store(7, 1, { lo: 0x80, hi: 0 })).toBe(PTWR_DONE);
    expect(entry(l1, 0).hi >>> 24).toBe(0x80);
    expect(store(0, 1, { lo: 0, hi: 0 })).toBe(PTWR_DONE);
    expect(state(at(1))).toBe('ref 1 none 0');
    expect(peek(vcpu.nEmulations(d0.cpu))).toBe(5);
    clean();
  });

  it('is emulated for an unprivileged guest only while it has asked for that', () => {
    const [, q] = pair();
    dom = q;
    [l1] = q.frames(1) as [Mfn];
    expect([q.pin(1, l1), q.map(8, pte(l1, RO))]).toEqual([0, 0]);
    const assist = (cmd: number): number => q.call(nr.HYPERVISOR_vm_assist, cmd, mmu.VMASST_TYPE_writable_pagetables);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
    expect(assist(mmu.VMASST_CMD_enable)).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_DONE);
    expect(assist(mmu.VMASST_CMD_disable)).toBe(0);
    expect(store(0, 8, { lo: 0, hi: 0 })).toBe(PTWR_UNHANDLED);
  });
});
