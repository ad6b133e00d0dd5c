/**
 * XSA-286. The hypervisor reaches the guest's current page tables through a linear mapping, that is by translations that a
 * TLB may hold. An update of an upper entry that guests see as "nothing was mapped here, so nothing needs a flush" left those
 * translations behind. The attack: in one multicall, touch an L1 through update_va_mapping, exchange the L2 above it by
 * mmu_update, and use update_va_mapping again: the entry lands in the L1 that is no longer there.
 *
 * Fixed: a change of an upper entry flushes before the hypercall, or a later part of the multicall, goes on; the
 * second update edits the second L1, and no vCPU of the domain translates by the old tables any more ([X29]).
 */
import { beforeEach, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { makeVa, type Mfn } from '../../src/abi/frames.js';
import { boot, makeDom, on, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import {
  audited,
  callMmuUpdate,
  callUpdateVa,
  entryOf,
  filled,
  mmuUpdate,
  multicall,
  pin,
  pte,
  RW,
  stateOf,
  updateVa,
} from './attack.js';

const [SLOT, AT] = [310, 5];
const va = makeVa(SLOT, AT);
let d: Dom;
let c: Guest;
let l3: Mfn;
const l2: [Mfn, Mfn] = [0 as Mfn, 0 as Mfn];
const l1: [Mfn, Mfn] = [0 as Mfn, 0 as Mfn];
let data: Mfn;
let other: Mfn;
beforeEach(() => {
  boot();
  d = makeDom({ domid: 1, vcpus: 2, frames: 8 });
  c = d.cpus[0] as Guest;
  [l3, l2[0], l2[1], l1[0], l1[1], data, other] = d.frames as [Mfn, Mfn, Mfn, Mfn, Mfn, Mfn, Mfn];
  for (const i of [0, 1] as const) {
    filled(c, l2[i], { 0: pte(l1[i], RW) });
    expect(on(c, () => pin(c, 2, l2[i]))).toBe(0);
  }
  filled(c, l3, { [AT]: pte(l2[0], RW) });
  expect(on(c, () => mmuUpdate(c, { t: d.l4, i: SLOT, v: pte(l3, RW) }))).toBe(0);
});

test('update_va_mapping behind an exchange of the L2 edits the L1 that is there now', () => {
  for (let round = 0; round < 15; round++) {
    const reset = [
      { t: l3, i: AT, v: pte(l2[0], RW) },
      { t: l1[0], i: 0, v: 0 },
      { t: l1[1], i: 0, v: 0 },
    ];
    expect(on(c, () => mmuUpdate(c, ...reset))).toBe(0);
    const exchange = callMmuUpdate(c, { t: l3, i: AT, v: pte(l2[1], RW) });
    const attack = [callUpdateVa(va, 0), exchange, callUpdateVa(va, pte(data, RW))];
    expect(on(c, () => multicall(c, ...attack))).toEqual([0, 0, 0, 0]);
    expect([entryOf(l1[0], 0), entryOf(l1[1], 0) >>> 12]).toEqual([0, data]);
    expect(stateOf(data)).toBe('ref 2 writable 1');
  }
  audited();
});

test('no vCPU of the domain reaches a page by the tables that an upper update took away', () => {
  const user = d.cpus[1] as Guest;
  expect(on(c, () => updateVa(c, va, pte(data, RW)))).toBe(0);
  expect(on(c, () => mmuUpdate(c, { t: l1[1], i: 0, v: pte(other, RW) }))).toBe(0);
  for (const g of [user, c]) on(g, () => g.g.store32(va, 1));
  expect([entryOf(data, 0), entryOf(other, 0)]).toEqual([1, 0]);
  expect(on(c, () => mmuUpdate(c, { t: l3, i: AT, v: pte(l2[1], RW) }))).toBe(0);
  for (const [n, g] of [user, c].entries()) {
    on(g, () => g.g.store32(va, 7 + n));
    expect([entryOf(data, 0), entryOf(other, 0)]).toEqual([1, 7 + n]);
  }
  expect(on(c, () => mmuUpdate(c, { t: l3, i: AT, v: 0 }))).toBe(0);
  for (const g of [user, c]) {
    on(g, () => g.g.store32(va, 9));
    expect(g.g.faulted()).toBe(true);
  }
  expect([entryOf(data, 0), entryOf(other, 0)]).toEqual([1, 8]);
  audited();
});
