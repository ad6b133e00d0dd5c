/** memory_op: reservations and exchange ([X1], [X58]; tapes RULES). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EFAULT, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH } from '../../src/abi/errno.js';
import { DOMID_SELF, makeVa, type Mfn } from '../../src/abi/frames.js';
import { HYPERVISOR_memory_op } from '../../src/abi/hypercall.js';
import * as mem from '../../src/abi/memory.js';
import { MMU_MACHPHYS_UPDATE } from '../../src/abi/mmu.js';
import { domain } from '../../src/hypervisor/domain.js';
import { globals } from '../../src/hypervisor/globals.js';
import { m2pEntry } from '../../src/hypervisor/m2p.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { NO_OWNER } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import {
  BAD_MFN,
  entry,
  machine,
  owner,
  pair,
  pte,
  put,
  refs,
  RO,
  RW,
  single,
  state,
  va64,
  type Arg,
  type Dom,
} from './machine.js';
import { recount, totals } from './recount.js';

const LIST = 200;
const OUT = 300;
let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
beforeEach(() => {
  d0 = single();
  t = d0.frames(6);
});
const clean = (): void => {
  expect(recount()).toEqual([]);
  expect(totals()).toEqual([]);
};
const tot = (d: Dom): number => peek(domain.totPages(d.d));
const m2p = (m: Mfn): number[] => [peek(m2pEntry(m)), peek(m2pEntry(m) + 1)];

function put1(d: Dom, base: number, list: number, values: readonly Arg[], dom: number, order = 0): void {
  values.forEach((v, i) => {
    d.wide(list + 2 * i, v);
  });
  d.wide(base + mem.RESERVATION_EXTENTS, d.at(list));
  d.wide(base + mem.RESERVATION_NR, values.length);
  d.word(base + mem.RESERVATION_ORDER, order);
  d.word(base + mem.RESERVATION_FLAGS, 0);
  d.wide(base + mem.RESERVATION_DOMID, dom);
}
function reserve(d: Dom, cmd: number, values: readonly Arg[], dom = DOMID_SELF as number, order = 0): number {
  put1(d, 16, LIST, values, dom, order);
  return d.call(HYPERVISOR_memory_op, cmd, d.at(16));
}
const listed = (d: Dom, i: number, list = LIST): Mfn => peek(d.wordAt(list + 2 * i)) as Mfn;
function exchange(d: Dom, values: readonly Arg[], pfns: readonly Arg[], dom = DOMID_SELF as number): [number, number] {
  put1(d, 16 + mem.EXCHANGE_IN, LIST, values, dom);
  put1(d, 16 + mem.EXCHANGE_OUT, OUT, pfns, dom);
  d.wide(16 + mem.EXCHANGE_DONE, 0);
  const rc = d.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, d.at(16));
  return [rc, peek(d.wordAt(16 + mem.EXCHANGE_DONE))];
}

describe('decrease_reservation', () => {
  it('frees an unused frame; nobody owns it any more, its M2P entry is invalid', () => {
    const before = tot(d0);
    expect(d0.update([{ t: at(0), v: 0x99, cmd: MMU_MACHPHYS_UPDATE }])).toEqual([0, 1]);
    expect(m2p(at(0))).toEqual([0x99, 0]);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0), at(1)])).toBe(2);
    expect([owner(at(0)), refs(at(0)), tot(d0) - before]).toEqual([NO_OWNER, 0, -2]);
    expect(m2p(at(0))).toEqual([-1, -1]);
    clean();
  });

  it('of a frame in use drops the allocation only, again and again, until the last reference goes', () => {
    expect(d0.map(8, pte(at(0), RW))).toBe(0);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0)])).toBe(1);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0)])).toBe(1);
    expect([owner(at(0)), state(at(0))]).toEqual([0, 'ref 1 writable 1']);
    clean();
    expect(d0.map(8, 0)).toBe(0);
    expect(owner(at(0))).toBe(NO_OWNER);
    expect(d0.pin(1, at(1))).toBe(0);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(1)])).toBe(1);
    expect(state(at(1))).toBe('ref 1 l1 1 pinned');
    expect(d0.unpin(at(1))).toBe(0);
    expect(owner(at(1))).toBe(NO_OWNER);
    clean();
  });

  it('stops at the first frame that is not the domain’s, and counts what was done', () => {
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0), BAD_MFN, at(1)])).toBe(1);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0)])).toBe(0);
    expect(owner(at(1))).toBe(0);
    clean();
  });

  it('takes the frames of an extent one by one, up to the first that cannot be had', () => {
    // 4,096 frames are more than the machine has.
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(5)], DOMID_SELF, 12)).toBe(0);
    expect([owner(at(5)), owner(at(4))]).toEqual([NO_OWNER, 0]);
    clean();
  });
});

describe('populate and increase', () => {
  it('give zeroed frames, known to the M2P by populate only', () => {
    put(at(0), 9, 0x77);
    expect(reserve(d0, mem.XENMEM_decrease_reservation, [at(0)])).toBe(1);
    expect(reserve(d0, mem.XENMEM_populate_physmap, [{ lo: 0x4242, hi: 1 }])).toBe(1);
    const a = listed(d0, 0);
    expect(m2p(a)).toEqual([0x4242, 1]);
    expect(state(a)).toBe('ref 1 none 0');
    expect(reserve(d0, mem.XENMEM_increase_reservation, [0, 0])).toBe(2);
    expect(m2p(listed(d0, 1))).toEqual([-1, -1]);
    for (let i = 0; i < 512; i++) expect(entry(a, i)).toEqual({ lo: 0, hi: 0 });
    clean();
  });

  it('end at max_pages, and with the last free frame', () => {
    const [, q] = machine({}, [{ domid: 1, maxPages: 8 }]) as [Dom, Dom];
    expect(tot(q)).toBe(6);
    expect(reserve(q, mem.XENMEM_increase_reservation, [0, 0, 0, 0])).toBe(2);
    expect(tot(q)).toBe(8);
    const p = single();
    let got = 0;
    for (;;) {
      const rc = reserve(
        p,
        mem.XENMEM_populate_physmap,
        Array.from({ length: 32 }, () => 0),
      );
      got += rc;
      if (rc < 32) break;
    }
    expect(peek(globals.freeFrames)).toBe(0);
    expect(tot(p)).toBe(6 + got);
    expect(reserve(p, mem.XENMEM_populate_physmap, [0])).toBe(0);
    expect(reserve(p, mem.XENMEM_decrease_reservation, [listed(p, 0)])).toBe(0);
    clean();
  });

  it('are preempted between extents and answer the whole number', () => {
    const p = single({ quantum: 1 });
    const values = Array.from({ length: 20 }, (_, i) => i);
    expect(reserve(p, mem.XENMEM_populate_physmap, values)).toBe(20);
    expect(peek(vcpu.nContinuations(p.cpu))).toBe(19);
    const got = values.map((i) => listed(p, i));
    expect(new Set(got).size).toBe(20);
    expect(reserve(p, mem.XENMEM_decrease_reservation, got)).toBe(20);
    clean();
  });

  it('for others need the right to them; an unknown domain and an unreadable argument get nothing', () => {
    const [p, q] = pair();
    expect(reserve(p, mem.XENMEM_populate_physmap, [0], 1)).toBe(1);
    expect(owner(listed(p, 0))).toBe(1);
    expect(reserve(q, mem.XENMEM_populate_physmap, [0], 0)).toBe(0);
    expect(reserve(q, mem.XENMEM_populate_physmap, [0], 1)).toBe(1);
    expect(reserve(p, mem.XENMEM_populate_physmap, [0], 9)).toBe(0);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_populate_physmap, va64(makeVa(272, 3)))).toBe(0);
    expect(p.call(HYPERVISOR_memory_op, 63, p.at(16))).toBe(-ENOSYS);
    clean();
  });
});

describe('exchange', () => {
  it('gives other frames for unused ones; the page total stays', () => {
    const before = tot(d0);
    expect(exchange(d0, [at(0), at(1)], [0x11, 0x22])).toEqual([0, 2]);
    expect([owner(at(0)), owner(at(1)), tot(d0)]).toEqual([NO_OWNER, NO_OWNER, before]);
    const fresh = listed(d0, 0, OUT);
    expect([owner(fresh), state(fresh), m2p(fresh)[0]]).toEqual([0, 'ref 1 none 0', 0x11]);
    clean();
  });

  it('wants frames with no other reference, and counts the pairs done before', () => {
    expect(d0.map(8, pte(at(1), RO))).toBe(0);
    expect(exchange(d0, [at(0), at(1)], [1, 2])).toEqual([-EINVAL, 1]);
    expect(state(at(1))).toBe('ref 2 none 0');
    expect(exchange(d0, [BAD_MFN], [1])).toEqual([-EINVAL, 0]);
    clean();
  });

  it('checks its structure first: sizes, orders, domain, rights', () => {
    expect(exchange(d0, [at(0)], [])).toEqual([-EINVAL, 0]);
    const [p, q] = pair();
    const [f] = p.frames(1) as [Mfn];
    expect(exchange(p, [f], [1], 9)).toEqual([-ESRCH, 0]);
    expect(exchange(q, [f], [1], 0)).toEqual([-EPERM, 0]);
    put1(p, 16 + mem.EXCHANGE_IN, LIST, [f], DOMID_SELF, 20);
    put1(p, 16 + mem.EXCHANGE_OUT, OUT, [1], DOMID_SELF, 20);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, p.at(16))).toBe(-EPERM);
    put1(p, 16 + mem.EXCHANGE_IN, LIST, [f], DOMID_SELF, 1);
    put1(p, 16 + mem.EXCHANGE_OUT, OUT, [1], DOMID_SELF, 1);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, p.at(16))).toBe(-ENOMEM);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, va64(makeVa(272, 3)))).toBe(-EFAULT);
    // Lists are looked at only when something is left to exchange.
    put1(p, 16 + mem.EXCHANGE_IN, LIST, [f], DOMID_SELF);
    put1(p, 16 + mem.EXCHANGE_OUT, OUT, [1], DOMID_SELF);
    p.wide(16 + mem.EXCHANGE_OUT + mem.RESERVATION_EXTENTS, va64(makeVa(256, 0)));
    p.wide(16 + mem.EXCHANGE_DONE, 1);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, p.at(16))).toBe(0);
    p.wide(16 + mem.EXCHANGE_DONE, 0);
    expect(p.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, p.at(16))).toBe(-EFAULT);
    clean();
  });

  it('gives the frame back when there is none to give for it', () => {
    while (peek(globals.freeFrames) > 0) d0.frames(1);
    expect(exchange(d0, [at(0)], [1])).toEqual([-ENOMEM, 0]);
    expect([owner(at(0)), state(at(0))]).toEqual([0, 'ref 1 none 0']);
    clean();
  });
});
