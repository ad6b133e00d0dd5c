/**
 * What an attacker's kernel does in these tests: hypercalls with arguments in its own memory, stores through its own
 * mappings. Tables are made as a guest makes them: filled through a writable mapping that is then given up.
 */
import { expect } from 'vitest';
import { DOMID_SELF, vaHi, vaLo, type Mfn, type Va } from '../../src/abi/frames.js';
import {
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import { entryLo } from '../../src/abi/pte.js';
import { auditMachine } from '../../src/audit/index.js';
import { countInfo, PGC_count_mask, PGT_count_mask, PGT_pinned, typeInfo, typeName } from '../../src/machine/frame.js';
import { mfnWord } from '../../src/abi/frames.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { on, slotVa, type Guest } from '../hypervisor/grant/lab.js';

export const RW = 0x67;
export const RO = 0x25;
/** A page of the kernel's window that only `fill` uses. */
const FILL_SLOT = 511;
/** Where a list of requests lies in the page of arguments, and where the entries of a multicall. */
const LIST = 64;
const CALLS = 256;

export const pte = (mfn: number, flags: number): number => entryLo(mfn as Mfn, flags);

export interface Request {
  readonly t: Mfn;
  readonly i: number;
  /** Low word; the high one is 0. */
  readonly v: number;
  readonly cmd?: number;
}

/** update_va_mapping; the flags default to none: whoever wants a flush says so. */
export function* updateVa(c: Guest, va: Va, lo: number, flags: number = mmu.UVMF_NONE): Steps<number> {
  c.g.argVa(0, va);
  c.g.arg(1, lo, 0);
  c.g.arg(2, flags, 0);
  return yield* c.g.hypercall(HYPERVISOR_update_va_mapping);
}

function putRequests(c: Guest, reqs: readonly Request[]): void {
  reqs.forEach(({ t, i, v, cmd }, k) => {
    const at = LIST + k * mmu.MMU_UPDATE_WORDS;
    [(t << 12) | (8 * i) | (cmd ?? 0), t >>> 20, v, 0].forEach((w, n) => {
      c.put(at + n, w);
    });
  });
}

/** mmu_update of several entries; answers rc. */
export function* mmuUpdate(c: Guest, ...reqs: Request[]): Steps<number> {
  putRequests(c, reqs);
  c.g.argVa(0, (c.va + 4 * LIST) as Va);
  c.g.arg(1, reqs.length, 0);
  c.g.arg(2, 0, 0);
  c.g.arg(3, DOMID_SELF, 0);
  return yield* c.g.hypercall(HYPERVISOR_mmu_update);
}

export function* mmuext(c: Guest, cmd: number, mfn: number): Steps<number> {
  [cmd, 0, mfn, 0, 0, 0].forEach((w, n) => {
    c.put(LIST + n, w);
  });
  c.g.argVa(0, (c.va + 4 * LIST) as Va);
  c.g.arg(1, 1, 0);
  c.g.arg(2, 0, 0);
  c.g.arg(3, DOMID_SELF, 0);
  return yield* c.g.hypercall(HYPERVISOR_mmuext_op);
}
export const pin = (c: Guest, level: number, mfn: Mfn): Steps<number> =>
  mmuext(c, mmu.MMUEXT_PIN_L1_TABLE + level - 1, mfn);
export const unpin = (c: Guest, mfn: Mfn): Steps<number> => mmuext(c, mmu.MMUEXT_UNPIN_TABLE, mfn);

/** A call of a multicall: its number and the low and high words of its arguments. */
export type Call = readonly [op: number, ...args: (readonly [lo: number, hi: number])[]];
export const callUpdateVa = (va: Va, lo: number): Call => [
  HYPERVISOR_update_va_mapping,
  [vaLo(va), vaHi(va)],
  [lo, 0],
  [0, 0],
];
/** `reqs` go where the caller's other requests went. */
export function callMmuUpdate(c: Guest, ...reqs: Request[]): Call {
  putRequests(c, reqs);
  const at = (c.va + 4 * LIST) as Va;
  return [HYPERVISOR_mmu_update, [vaLo(at), vaHi(at)], [reqs.length, 0], [0, 0], [DOMID_SELF, 0]];
}
/** What a result of a multicall says before Xen writes one. */
export const NO_RESULT = 12345;

/** Answers rc and every result. */
export function* multicall(c: Guest, ...calls: Call[]): Steps<number[]> {
  const result = (k: number): number => CALLS + k * mmu.MULTICALL_WORDS + mmu.MULTICALL_RESULT;
  calls.forEach(([op, ...args], k) => {
    const at = CALLS + k * mmu.MULTICALL_WORDS;
    for (let i = 0; i < mmu.MULTICALL_WORDS; i++) c.put(at + i, 0);
    c.put(at, op);
    c.put(result(k), NO_RESULT);
    args.forEach(([lo, hi], i) => {
      c.put(at + mmu.MULTICALL_ARGS + 2 * i, lo);
      c.put(at + mmu.MULTICALL_ARGS + 2 * i + 1, hi);
    });
  });
  c.g.argVa(0, (c.va + 4 * CALLS) as Va);
  c.g.arg(1, calls.length, 0);
  const rc = yield* c.g.hypercall(HYPERVISOR_multicall);
  return [rc, ...calls.map((_, k) => c.get(result(k)))];
}

/** Stores entries into a frame of one's own through a writable mapping, which is then given up and flushed. */
export function* fill(c: Guest, mfn: Mfn, entries: Readonly<Record<number, number>>): Steps<void> {
  const va = slotVa(FILL_SLOT);
  if ((yield* updateVa(c, va, pte(mfn, RW), mmu.UVMF_INVLPG)) !== 0) throw new Error('a frame cannot be filled');
  for (const [i, v] of Object.entries(entries)) yield* c.g.store((va + 8 * Number(i)) as Va, v, 0);
  if ((yield* updateVa(c, va, 0, mmu.UVMF_INVLPG)) !== 0) throw new Error('a frame stays mapped');
}
/** The same, by a vCPU that does nothing else meanwhile. */
export const filled = (c: Guest, mfn: Mfn, entries: Readonly<Record<number, number>>): void => {
  on(c, () => fill(c, mfn, entries));
};

/** Low word of entry `i` of a frame, looked at from outside. */
export const entryOf = (mfn: Mfn, i: number): number => peek(mfnWord(mfn) + 2 * i);
/** `ref 2 l1 1 pinned`, from outside. */
export function stateOf(mfn: Mfn): string {
  const t = peek(typeInfo(mfn));
  const types = t & PGT_count_mask;
  const type = types === 0 ? 'none' : typeName(t);
  const pinned = (t & PGT_pinned) === 0 ? '' : ' pinned';
  return `ref ${String(peek(countInfo(mfn)) & PGC_count_mask)} ${type} ${String(types)}${pinned}`;
}

/** Every count equals its holders, no translation outlives its right, nothing is leaked; `but` may be found. */
export function audited(...but: string[]): void {
  const found = auditMachine().filter((v) => !but.includes(v.invariant));
  expect(found.map((v) => `${v.invariant} ${v.detail}`)).toEqual([]);
}
