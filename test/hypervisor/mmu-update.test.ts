/** mmu_update ([X18]-[X30]; tapes RULES). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EBUSY, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } from '../../src/abi/errno.js';
import { DOMID_IO, DOMID_SELF, DOMID_XEN, type Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_mmu_update } from '../../src/abi/hypercall.js';
import {
  MMU_MACHPHYS_UPDATE,
  MMU_PT_UPDATE_NO_TRANSLATE,
  MMU_PT_UPDATE_PRESERVE_AD,
  MMU_UPDATE_PREEMPTED,
} from '../../src/abi/mmu.js';
import { PAGE_GUEST_KERNEL_HI, PAGE_NX_HI } from '../../src/abi/pte.js';
import { m2pEntry } from '../../src/hypervisor/m2p.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek } from '../../src/sync/primitives.js';
import { BAD_MFN, entry, machine, pair, pte, put, RO, RW, single, state, va64, type Dom } from './machine.js';
import { recount } from './recount.js';
import { makeVa } from '../../src/abi/frames.js';

let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
beforeEach(() => {
  d0 = single();
  t = d0.frames(8);
});
const clean = (): void => {
  expect(recount()).toEqual([]);
};

describe('an update of a frame without a table type', () => {
  it('stores the value as it is and holds nothing', () => {
    expect(d0.set(at(0), 3, pte(at(1), 0xfff, PAGE_NX_HI))).toBe(0);
    expect(entry(at(0), 3)).toEqual(pte(at(1), 0xfff, PAGE_NX_HI));
    expect([state(at(0)), state(at(1))]).toEqual(['ref 1 none 0', 'ref 1 none 0']);
    clean();
  });

  it('does so also where the frame is mapped writable, and where it was a table a moment ago', () => {
    expect(d0.map(8, pte(at(0), RW))).toBe(0);
    expect(d0.set(at(0), 0, pte(at(1), RW))).toBe(0);
    expect(entry(at(0), 0)).toEqual(pte(at(1), RW));
    expect(d0.pin(2, at(2))).toBe(0);
    expect(d0.unpin(at(2))).toBe(0);
    expect(d0.set(at(2), 0, pte(at(1), RW))).toBe(0);
    expect(state(at(1))).toBe('ref 1 none 0');
    clean();
  });
});

describe('an update of an L1', () => {
  beforeEach(() => {
    expect(d0.pin(1, at(0))).toBe(0);
  });

  it('takes the new references, stores the adjusted entry, drops the old ones', () => {
    expect(d0.set(at(0), 4, pte(at(1), 0x3))).toBe(0);
    expect(entry(at(0), 4)).toEqual(pte(at(1), 0x7, PAGE_GUEST_KERNEL_HI));
    expect(state(at(1))).toBe('ref 2 writable 1');
    expect(d0.set(at(0), 4, pte(at(2), RO))).toBe(0);
    expect([state(at(1)), state(at(2))]).toEqual(['ref 1 none 0', 'ref 2 none 0']);
    expect(d0.set(at(0), 4, { lo: 0x5a0, hi: 0x7 })).toBe(0);
    expect(entry(at(0), 4)).toEqual({ lo: 0x5a0, hi: 0x7 });
    expect(state(at(2))).toBe('ref 1 none 0');
    clean();
  });

  it('changes no reference when only flags change that need no look (NX, AVAIL, G, A, D, US)', () => {
    expect(d0.set(at(0), 0, pte(at(1), RO))).toBe(0);
    for (const [flags, hi] of [
      [RO | 0xe00, 0],
      [RO | 0x40, PAGE_NX_HI],
      [0x101, 0x7ff00000 & ~PAGE_GUEST_KERNEL_HI],
    ] as const) {
      expect(d0.set(at(0), 0, pte(at(1), flags, hi))).toBe(0);
      expect(state(at(1))).toBe('ref 2 none 0');
    }
    clean();
  });

  it('checks RO to RW of the same frame anew: EBUSY for a table (XSA-182)', () => {
    expect(d0.set(at(0), 0, pte(at(0), RO))).toBe(0);
    expect(d0.set(at(0), 0, pte(at(0), RW))).toBe(-EBUSY);
    expect(entry(at(0), 0).lo & 2).toBe(0);
    clean();
  });

  it('refuses frames that are not there (EPERM), not its own (EBUSY), and cache bits without devices (EINVAL)', () => {
    const [p, q] = pair();
    const [l1] = p.frames(1) as [Mfn];
    const [l1q] = q.frames(1) as [Mfn];
    expect([p.pin(1, l1), q.pin(1, l1q)]).toEqual([0, 0]);
    expect(p.set(l1, 0, { lo: RO, hi: 0xffff })).toBe(-EPERM);
    expect(p.set(l1, 0, { lo: 0xfffff000 | RO, hi: 0xfffff })).toBe(-EINVAL);
    expect(p.set(l1, 0, pte(l1q, RO))).toBe(-EBUSY);
    expect(q.set(l1q, 0, pte(l1q, RO | 0x10))).toBe(-EINVAL);
    expect(p.set(l1, 0, pte(l1, RO | 0x10))).toBe(0);
    clean();
  });

  it('maps I/O memory uncached, for domains with devices only', () => {
    expect(d0.set(at(0), 0, pte(0, RW))).toBe(0);
    expect(entry(at(0), 0).lo & 0xfff).toBe(RW | 0x118);
    expect(d0.set(at(0), 1, pte(0, RO | 0x8))).toBe(0);
    expect(entry(at(0), 1).lo & 0x98).toBe(0x18);
    const [, q] = pair();
    const [l1] = q.frames(1) as [Mfn];
    expect(q.pin(1, l1)).toBe(0);
    expect(q.set(l1, 0, pte(0, RO))).toBe(-EPERM);
    clean();
  });

  it('may keep the accessed and dirty bits that are there', () => {
    expect(d0.set(at(0), 0, pte(at(1), 0x67))).toBe(0);
    const keep = (v: Parameters<Dom['set']>[2]): number =>
      d0.update([{ t: at(0), i: 0, v, cmd: MMU_PT_UPDATE_PRESERVE_AD }])[0];
    expect(keep(pte(at(1), 0x5))).toBe(0);
    expect(entry(at(0), 0).lo & 0xff).toBe(0x65);
    expect(keep(0)).toBe(0);
    expect(entry(at(0), 0)).toEqual({ lo: 0x60, hi: 0 });
    clean();
  });
});

describe('an update of an upper table', () => {
  it('types what it names and lets go of what it named, in a continuation of its own', () => {
    expect(d0.pin(2, at(0))).toBe(0);
    expect(d0.set(at(0), 1, pte(at(1), RW))).toBe(0);
    expect(state(at(1))).toBe('ref 2 l1 1');
    const before = peek(vcpu.nContinuations(d0.cpu));
    expect(d0.set(at(0), 1, pte(at(2), RW))).toBe(0);
    expect(peek(vcpu.nContinuations(d0.cpu)) - before).toBe(1);
    expect([state(at(1)), state(at(2))]).toEqual(['ref 1 none 0', 'ref 2 l1 1']);
    expect(entry(at(0), 1)).toEqual(pte(at(2), RW | 4));
    clean();
  });

  it('flushes the TLBs of the domain; one of an L1 or of an untyped frame flushes nothing', () => {
    expect([d0.pin(1, at(0)), d0.pin(2, at(1))]).toEqual([0, 0]);
    const time = (): number => peek(vcpu.flushTime(d0.cpu));
    const start = time();
    expect(d0.set(at(0), 0, pte(at(3), RW))).toBe(0);
    expect(d0.set(at(2), 0, pte(at(3), RW))).toBe(0);
    expect(time()).toBe(start);
    expect(d0.set(at(1), 0, pte(at(4), RW))).toBe(0);
    expect(time()).not.toBe(start);
  });

  it('answers the error of the lower table that does not validate, and changes nothing', () => {
    const [p, q] = pair();
    const [l1, l2, l1b] = p.frames(3) as [Mfn, Mfn, Mfn];
    const [foreign] = q.frames(1) as [Mfn];
    put(l1, 8, pte(foreign, RW));
    expect(p.pin(2, l2)).toBe(0);
    expect(p.set(l2, 0, pte(l1b, RW))).toBe(0);
    expect(p.set(l2, 0, pte(l1, RW))).toBe(-EBUSY);
    expect(entry(l2, 0)).toEqual(pte(l1b, RW | 4));
    expect(p.set(l2, 0, pte(l2, RW))).toBe(-EINVAL);
    expect([state(l1), state(l1b)]).toEqual(['ref 1 none 0', 'ref 2 l1 1']);
    clean();
  });

  it('takes no foreign frames owner: L2 and up with another FD is EINVAL', () => {
    const [p] = pair();
    const [l2] = p.frames(1) as [Mfn];
    expect(p.pin(2, l2)).toBe(0);
    expect(p.update([{ t: l2, v: 0 }], 1)).toEqual([-EINVAL, 0]);
  });
});

describe('the call', () => {
  it('stops at the first error; done counts the ones before, later ones are not executed', () => {
    expect(d0.pin(1, at(0))).toBe(0);
    const reqs = [
      { t: at(0), i: 0, v: pte(at(1), RW) },
      { t: at(0), i: 1, v: pte(at(0), RW) },
      { t: at(0), i: 2, v: pte(at(1), RW) },
    ];
    expect(d0.update(reqs)).toEqual([-EBUSY, 1]);
    expect(entry(at(0), 2)).toEqual({ lo: 0, hi: 0 });
    clean();
  });

  it('refuses unknown sub-commands, frames that are not the owner’s, unreadable arrays', () => {
    expect(d0.update([{ t: at(0), v: 0, cmd: 4 }])).toEqual([-ENOSYS, 0]);
    expect(d0.update([{ t: at(0), v: 0, cmd: 7 }])).toEqual([-ENOSYS, 0]);
    expect(d0.update([{ t: at(0), v: 0, cmd: MMU_PT_UPDATE_NO_TRANSLATE }])).toEqual([0, 1]);
    expect(d0.set(BAD_MFN, 0, 0)).toBe(-EINVAL);
    expect(d0.set(0, 0, 0)).toBe(-EINVAL);
    const xen = va64(makeVa(260));
    expect(d0.call(HYPERVISOR_mmu_update, xen, 1, 0, DOMID_SELF)).toBe(-EFAULT);
    expect(d0.call(HYPERVISOR_mmu_update, va64(makeVa(272, 5)), 1, 0, DOMID_SELF)).toBe(-EFAULT);
  });

  it('needs SELF for oneself, and knows domains before rights: ESRCH, then EPERM', () => {
    const [p, q] = pair();
    const [mine] = p.frames(1) as [Mfn];
    const [theirs] = q.frames(1) as [Mfn];
    const one = [{ t: mine, v: pte(theirs, RO) }];
    expect(p.update(one, 0)[0]).toBe(-ESRCH);
    expect(p.update(one, 77)[0]).toBe(-ESRCH);
    expect(p.update([{ t: theirs, v: 0 }], DOMID_SELF, 77)[0]).toBe(-ESRCH);
    expect(q.update([{ t: theirs, v: 0 }], 1)[0]).toBe(-ESRCH);
    expect(q.update([{ t: theirs, v: 0 }], 0)[0]).toBe(-EPERM);
    expect(q.update([{ t: mine, v: 0 }], DOMID_SELF, 0)[0]).toBe(-EPERM);
    expect(p.pin(1, mine)).toBe(0);
    expect(p.update(one)[0]).toBe(-EBUSY);
    expect(p.update(one, 1)[0]).toBe(0);
    expect(state(theirs)).toBe('ref 2 none 0');
    expect(p.update([{ t: theirs, v: 5 }], DOMID_SELF, 1)[0]).toBe(0);
    expect(entry(theirs, 0)).toEqual({ lo: 5, hi: 0 });
    clean();
  });

  it('lets a privileged FD pass its rights on to a table that is not its own, never to its own', () => {
    const [p, q, r] = machine({}, [{ domid: 1 }, { domid: 2 }]) as [Dom, Dom, Dom];
    const [l1] = q.frames(1) as [Mfn];
    const [page] = r.frames(1) as [Mfn];
    expect(p.pin(1, l1, 1)).toBe(0);
    expect(p.update([{ t: l1, i: 1, v: pte(page, RO) }], 1, 1)[0]).toBe(-EBUSY);
    expect(p.update([{ t: l1, i: 1, v: pte(page, RO) }], DOMID_SELF, 1)[0]).toBe(0);
    expect(state(page)).toBe('ref 2 none 0');
    clean();
  });

  it('a continuation with count 0 and no array answers what its foreigndom carries', () => {
    expect(d0.call(HYPERVISOR_mmu_update, 0, MMU_UPDATE_PREEMPTED, 0, -EBUSY)).toBe(-EBUSY);
  });
});

describe('a machine-to-physical update', () => {
  it('stores all 64 bits for a frame of the owner named, and for no other', () => {
    const [p, q] = pair();
    const [mine] = p.frames(1) as [Mfn];
    const [theirs] = q.frames(1) as [Mfn];
    const set = (t: Mfn, dom: number): number =>
      p.update([{ t, v: { lo: 0x1234, hi: 0x56 }, cmd: MMU_MACHPHYS_UPDATE }], dom)[0];
    expect(set(mine, DOMID_SELF)).toBe(0);
    expect([peek(m2pEntry(mine)), peek(m2pEntry(mine) + 1)]).toEqual([0x1234, 0x56]);
    expect([set(theirs, DOMID_SELF), set(mine, 1), set(theirs, DOMID_IO), set(theirs, DOMID_XEN)]).toEqual(
      Array.from({ length: 4 }, () => -EINVAL),
    );
    expect(set(theirs, 1)).toBe(0);
    expect(p.update([{ t: theirs, v: 1, cmd: MMU_MACHPHYS_UPDATE }], 1, 1)[0]).toBe(-EPERM);
    clean();
  });
});
