/**
 * Operations of a tape on page tables: mmuext_op, mmu_update, update_va_mapping, vm_assist.
 *
 * Source: tapes FORMAT.md (operations); xen/include/public/xen.h.
 */
import { DOMID_SELF } from '../../abi/frames.js';
import {
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_update_va_mapping,
  HYPERVISOR_update_va_mapping_otherdomain,
  HYPERVISOR_vm_assist,
} from '../../abi/hypercall.js';
import * as mmu from '../../abi/mmu.js';
import type { Steps } from '../../sync/steps.js';
import { MMUEXT_COMMANDS, UPDATE_COMMANDS } from './commands.js';
import type { Answer } from './compare.js';
import type { TapeGuest } from './guest.js';
import type { OpOf } from './schema.js';
import { domidOf, vaWord } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';
import { add64, fromInteger, parseHex, ZERO64, type Word64 } from './value.js';

const raw = (a: number | string): Word64 => (typeof a === 'number' ? fromInteger(a) : parseHex(a));
const foreign = (dom: string | undefined): number => (dom === undefined ? DOMID_SELF : domidOf(dom));

function arg1(m: TapeMachine, op: OpOf<'mmuext'>['ops'][number]): Word64 {
  if (op.f !== undefined) return m.symbols.mfnWord(op.f);
  if (op.va !== undefined) return vaWord(op.va);
  return op.a1 === undefined ? ZERO64 : raw(op.a1);
}

function arg2(m: TapeMachine, op: OpOf<'mmuext'>['ops'][number]): Word64 {
  if (op.src !== undefined) return m.symbols.mfnWord(op.src);
  return op.a2 === undefined ? ZERO64 : raw(op.a2);
}

export function* doMmuext(m: TapeMachine, by: TapeGuest, op: OpOf<'mmuext'>): Steps<Answer> {
  const n = op.ops.length;
  const done = n * mmu.MMUEXT_OP_WORDS;
  for (const [k, e] of op.ops.entries()) {
    const base = k * mmu.MMUEXT_OP_WORDS;
    yield* by.put64(base, fromInteger(MMUEXT_COMMANDS[e.cmd]));
    yield* by.put64(base + mmu.MMUEXT_ARG1, arg1(m, e));
    yield* by.put64(base + mmu.MMUEXT_ARG2, arg2(m, e));
  }
  yield* by.put(done, 0);
  const rc = yield* by.call(HYPERVISOR_mmuext_op, by.pointer(0), n, by.pointer(done), foreign(op.dom));
  return { rc, done: yield* by.get(done) };
}

export function* doMmuUpdate(m: TapeMachine, by: TapeGuest, op: OpOf<'mmu_update'>): Steps<Answer> {
  const n = op.u.length;
  const done = n * mmu.MMU_UPDATE_WORDS;
  for (const [k, u] of op.u.entries()) {
    const base = k * mmu.MMU_UPDATE_WORDS;
    const offset = 8 * (u.i ?? 0) + UPDATE_COMMANDS[u.cmd ?? 'NORMAL'] + (u.low ?? 0);
    yield* by.put64(base, add64(m.symbols.machineAddress(u.t, 0), fromInteger(offset)));
    yield* by.put64(base + 2, m.symbols.value(u.v));
  }
  yield* by.put(done, 0);
  const tables = op.ptdom === undefined ? 0 : domidOf(op.ptdom) + 1;
  const who = ((tables << 16) | foreign(op.dom)) >>> 0;
  const rc = yield* by.call(HYPERVISOR_mmu_update, by.pointer(0), n, by.pointer(done), who);
  return { rc, done: yield* by.get(done) };
}

export function* doUpdateVa(m: TapeMachine, by: TapeGuest, op: OpOf<'update_va'>): Steps<Answer> {
  const va = vaWord(op.va);
  const value = m.symbols.value(op.v);
  const flags = op.flags ?? mmu.UVMF_INVLPG;
  if (op.dom === undefined) return { rc: yield* by.call(HYPERVISOR_update_va_mapping, va, value, flags) };
  return { rc: yield* by.call(HYPERVISOR_update_va_mapping_otherdomain, va, value, flags, domidOf(op.dom)) };
}

export function* doVmAssist(by: TapeGuest, op: OpOf<'vm_assist'>): Steps<Answer> {
  return { rc: yield* by.call(HYPERVISOR_vm_assist, op.cmd, op.type) };
}
