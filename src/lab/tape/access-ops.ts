/**
 * Operations by which a tape's kernel touches memory: through its private window, or at an address of the tape.
 *
 * Source: tapes FORMAT.md (poke, fill, peek, snap, vread, vwrite, m2p).
 */
import { LabError } from '../../abi/errors.js';
import { ENTRIES } from '../../abi/pte.js';
import type { Va } from '../../abi/frames.js';
import { MMUEXT_ARG1, MMUEXT_INVLPG_LOCAL, MMUEXT_OP_WORDS } from '../../abi/mmu.js';
import { DOMID_SELF } from '../../abi/frames.js';
import { HYPERVISOR_mmuext_op } from '../../abi/hypercall.js';
import { TRAP_page_fault } from '../../abi/trap.js';
import type { Steps } from '../../sync/steps.js';
import type { Answer } from './compare.js';
import { toVa, WINDOW_VA, type TapeGuest } from './guest.js';
import type { OpOf } from './schema.js';
import { domidOf, vaWord, type Encoded } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';
import { add64, fromInteger, hex64, parseHex, ZERO64, type Word64 } from './value.js';

const RW_WINDOW = '0x67';
const RO_WINDOW = '0x25';
/** machine_to_phys as a guest sees it: the first of Xen's slots. */
const RO_MPT = parseHex('0xffff800000000000');

const at = (i: number): Va => (WINDOW_VA + 8 * i) as Va;

/** Maps `f` into the caller's window; answers what the hypercall did. */
function* open(m: TapeMachine, by: TapeGuest, f: string, fl: string, dom: string | undefined): Steps<number> {
  const owner = dom ?? m.firstOwner(f) ?? 'self';
  const foreign = owner === 'self' || owner === by.name ? undefined : domidOf(owner);
  return yield* by.map(WINDOW_VA, m.symbols.value({ f, fl }), foreign);
}

export function* doPoke(m: TapeMachine, by: TapeGuest, op: OpOf<'poke'>): Steps<Answer> {
  const rc = yield* open(m, by, op.f, RW_WINDOW, op.dom);
  if (rc !== 0) return { rc };
  yield* by.store(at(op.i), m.symbols.value(op.v));
  yield* by.unmap(WINDOW_VA);
  return { rc };
}

export function* doFill(m: TapeMachine, by: TapeGuest, op: OpOf<'fill'>): Steps<Answer> {
  if (op.i + op.n > ENTRIES) throw new LabError('TAPE_FILL', `tape ${m.tape.id}: a fill runs over the end of ${op.f}`);
  const rc = yield* open(m, by, op.f, RW_WINDOW, op.dom);
  if (rc !== 0) return { rc };
  const step = typeof op.step === 'number' ? fromInteger(op.step) : parseHex(op.step);
  let value = m.symbols.value(op.v);
  for (let k = 0; k < op.n; k++) {
    yield* by.store(at(op.i + k), value);
    value = add64(value, step);
  }
  yield* by.unmap(WINDOW_VA);
  return { rc };
}

export function* doPeek(m: TapeMachine, by: TapeGuest, op: OpOf<'peek'>): Steps<Answer> {
  const rc = yield* open(m, by, op.f, RO_WINDOW, op.dom);
  if (rc !== 0) return { rc };
  const value = (yield* by.load(at(op.i))) ?? ZERO64;
  yield* by.unmap(WINDOW_VA);
  return { rc, v: m.symbols.encode(value.lo, value.hi) };
}

export function* doSnap(m: TapeMachine, by: TapeGuest, op: OpOf<'snap'>): Steps<Answer> {
  const rc = yield* open(m, by, op.f, RO_WINDOW, op.dom);
  if (rc !== 0) return { rc };
  const v: Record<string, Encoded> = {};
  for (let i = 0; i < ENTRIES; i++) {
    const value = (yield* by.load(at(i))) ?? ZERO64;
    if (value.lo !== 0 || value.hi !== 0) v[String(i)] = m.symbols.encode(value.lo, value.hi);
  }
  yield* by.unmap(WINDOW_VA);
  return { rc, v };
}

/** INVLPG of an address, as a PV kernel does it. */
function* invlpg(by: TapeGuest, address: Word64): Steps<void> {
  yield* by.clear(0, MMUEXT_OP_WORDS);
  yield* by.put(0, MMUEXT_INVLPG_LOCAL);
  yield* by.put64(MMUEXT_ARG1, address);
  yield* by.call(HYPERVISOR_mmuext_op, by.pointer(0), 1, 0, DOMID_SELF);
}

/** What the handler saw of a fault at `va`. */
function faultAnswer(by: TapeGuest, va: Va): Answer {
  const seen = by.lastFault();
  return { fault: TRAP_page_fault, ec: seen.error, cr2ok: seen.va === va };
}

export function* doVread(m: TapeMachine, by: TapeGuest, op: OpOf<'vread'>): Steps<Answer> {
  const address = vaWord(op.va, op.off);
  yield* invlpg(by, address);
  const va = toVa(address);
  const value = yield* by.load(va);
  if (value === undefined) return faultAnswer(by, va);
  return { fault: 0, v: m.symbols.encode(value.lo, value.hi) };
}

export function* doVwrite(m: TapeMachine, by: TapeGuest, op: OpOf<'vwrite'>): Steps<Answer> {
  const address = vaWord(op.va, op.off);
  yield* invlpg(by, address);
  const va = toVa(address);
  const done = yield* by.store(va, m.symbols.value(op.v));
  return done ? { fault: 0 } : faultAnswer(by, va);
}

/** Reads the frame's entry of the machine-to-physical table through its read-only mapping. */
export function* doM2p(m: TapeMachine, by: TapeGuest, op: OpOf<'m2p'>): Steps<Answer> {
  const entry = m.symbols.machineAddress(op.f, 0);
  const offset = { lo: (entry.lo >>> 9) | (entry.hi << 23), hi: entry.hi >>> 9 };
  const value = yield* by.load(toVa(add64(RO_MPT, offset)));
  if (value === undefined) return { fault: TRAP_page_fault };
  const name = m.symbols.frameName(value.lo, value.hi);
  return { fault: 0, v: name === undefined ? hex64(value.lo, value.hi) : { mfn: name } };
}
