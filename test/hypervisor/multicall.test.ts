/** Multicalls ([X37]). */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EFAULT, EINVAL, ENOSYS } from '../../src/abi/errno.js';
import { makeVa, type Mfn } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import { MMUEXT_NEW_USER_BASEPTR, MULTICALL_ARGS, MULTICALL_RESULT, MULTICALL_WORDS } from '../../src/abi/mmu.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek } from '../../src/sync/primitives.js';
import { entry, pte, put, RW, single, state, va64, windowVa, type Arg, type Dom } from './machine.js';
import { recount } from './recount.js';

const LIST = 512;
let d0: Dom;
let t: Mfn[];
const at = (i: number): Mfn => t[i] as Mfn;
beforeEach(() => {
  d0 = single();
  t = d0.frames(6);
});

/** Runs the calls; answers the multicall's rc and each result. */
function multicall(calls: readonly (readonly [number, ...Arg[]])[], list: Arg = d0.at(LIST)): [number, number[]] {
  calls.forEach(([op, ...args], i) => {
    const base = LIST + i * MULTICALL_WORDS;
    d0.wide(base, op);
    d0.wide(base + MULTICALL_RESULT, 12345);
    for (let k = 0; k < 6; k++) d0.wide(base + MULTICALL_ARGS + 2 * k, args[k] ?? 0);
  });
  const rc = d0.call(nr.HYPERVISOR_multicall, list, calls.length);
  return [rc, calls.map((_, i) => peek(d0.wordAt(LIST + i * MULTICALL_WORDS + MULTICALL_RESULT)))];
}
const uvm = (page: number, v: Arg): [number, ...Arg[]] => [nr.HYPERVISOR_update_va_mapping, va64(windowVa(page)), v, 0];

describe('a multicall', () => {
  it('does its calls in order and stores each result; a failing one stops nothing', () => {
    const calls = [uvm(8, pte(at(0), RW)), uvm(9, pte(d0.l1, RW)), [99] as [number], uvm(10, pte(at(1), RW))];
    expect(multicall(calls)).toEqual([0, [0, -16, -ENOSYS, 0]]);
    expect([state(at(0)), state(at(1))]).toEqual(['ref 2 writable 1', 'ref 2 writable 1']);
    expect(peek(vcpu.nSubcalls(d0.cpu))).toBe(4);
    expect(recount()).toEqual([]);
  });

  it('does not nest', () => {
    expect(multicall([[nr.HYPERVISOR_multicall, d0.at(LIST), 1]])).toEqual([0, [-EINVAL]]);
  });

  it('ends at an iret (XSA-213), and the next one is no nested one', () => {
    put(at(2), 272, pte(d0.l3, RW));
    expect(d0.mmuext([{ cmd: MMUEXT_NEW_USER_BASEPTR, a1: at(2) }])).toEqual([0, 1]);
    const [rc, results] = multicall([[nr.HYPERVISOR_iret], uvm(8, pte(at(0), RW))]);
    expect([rc, results]).toEqual([0, [0, 12345]]);
    expect(peek(vcpu.kernelMode(d0.cpu))).toBe(0);
    expect(state(at(0))).toBe('ref 1 none 0');
    expect(multicall([[nr.HYPERVISOR_iret]])).toEqual([0, [0]]);
    expect(multicall([uvm(8, pte(at(0), RW))])).toEqual([0, [0]]);
  });

  it('is EFAULT where the list is Xen’s or nobody’s, after doing what could be read', () => {
    expect(multicall([], va64(makeVa(260)))).toEqual([-EFAULT, []]);
    expect(d0.call(nr.HYPERVISOR_multicall, va64(makeVa(272, 3)), 1)).toBe(-EFAULT);
  });

  it('sees each table as the calls before left it (XSA-286)', () => {
    // SL2 names at(2), then at(3): the second update_va_mapping must edit the second L1.
    expect(d0.set(d0.l2, 1, pte(at(2), RW))).toBe(0);
    const va = makeVa(272, 0, 1, 7);
    d0.putUpdates([{ t: d0.l2, i: 1, v: pte(at(3), RW) }]);
    const [rc, results] = multicall([
      [nr.HYPERVISOR_update_va_mapping, va64(va), 0, 0],
      [nr.HYPERVISOR_mmu_update, d0.at(16), 1, 0, 0x7ff0],
      [nr.HYPERVISOR_update_va_mapping, va64(va), pte(at(0), RW), 0],
    ]);
    expect([rc, results]).toEqual([0, [0, 0, 0]]);
    expect(entry(at(2), 7)).toEqual({ lo: 0, hi: 0 });
    expect(entry(at(3), 7)).toEqual(pte(at(0), RW | 0x100));
    expect(recount()).toEqual([]);
  });
});
