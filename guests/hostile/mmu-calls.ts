/**
 * Random calls about page tables: mmu_update, update_va_mapping in both forms, mmuext_op.
 *
 * Each function prepares one call; `at` is where its structures will lie in the guest's memory.
 */
import { DOMID_SELF, type Va } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import * as mmu from '../../src/abi/mmu.js';
import { MMU_UPDATE_WORDS } from '../../src/abi/mmu.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { below, chance, hostile, isWild, type Hostile } from './record.js';
import {
  anyFrame,
  begin,
  domid,
  entry,
  frameAt,
  frameHi,
  frameOfLevel,
  index,
  levelAt,
  mfn,
  noise,
  oneOf,
  pageVa,
  register,
  small,
  vaRegister,
  vaWords,
  wide,
  wildVa,
  word,
} from './values.js';

/** Structures of a list begin behind the word pair that takes `done`. */
const LIST = 4;
const PIN: readonly number[] = [
  mmu.MMUEXT_PIN_L1_TABLE,
  mmu.MMUEXT_PIN_L2_TABLE,
  mmu.MMUEXT_PIN_L3_TABLE,
  mmu.MMUEXT_PIN_L4_TABLE,
];
const OTHERS: readonly number[] = [
  mmu.MMUEXT_TLB_FLUSH_LOCAL,
  mmu.MMUEXT_INVLPG_LOCAL,
  mmu.MMUEXT_TLB_FLUSH_MULTI,
  mmu.MMUEXT_INVLPG_MULTI,
  mmu.MMUEXT_TLB_FLUSH_ALL,
  mmu.MMUEXT_INVLPG_ALL,
  mmu.MMUEXT_FLUSH_CACHE,
  mmu.MMUEXT_SET_LDT,
  mmu.MMUEXT_CLEAR_PAGE,
  mmu.MMUEXT_COPY_PAGE,
  mmu.MMUEXT_FLUSH_CACHE_GLOBAL,
  mmu.MMUEXT_MARK_SUPER,
];

/** Pointer to the list, count, pointer to `done`, domain: as mmu_update and mmuext_op take them. */
function listRegisters(h: Hostile, at: Va, n: number, dom: number): void {
  wide(h, 0, 0, 0);
  wide(h, 2, 0, 0);
  vaRegister(h, 0, isWild(h) ? wildVa(h) : ((at + 4 * LIST) as Va));
  register(h, 1, isWild(h) ? noise(h) : n, 0);
  if (chance(h, 160)) vaRegister(h, 2, isWild(h) ? wildVa(h) : at);
  register(h, 3, dom, 0);
}

export function mmuUpdate(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_mmu_update);
  const n = 1 + below(h, chance(h, 64) ? 6 : 2);
  for (let k = 0; k < n; k++) updateRequest(h, LIST + k * MMU_UPDATE_WORDS);
  const dom = domid(h) | (chance(h, 16) ? (domid(h) + 1) << 16 : 0);
  listRegisters(h, at, n, dom);
}

function updateRequest(h: Hostile, i: number): void {
  const machphys = chance(h, 16);
  const where = anyFrame(h);
  const table = chance(h, 16) ? mfn(h, 1) : chance(h, 24) ? peek(hostile.windowL1(h)) : frameAt(h, where);
  const command = machphys ? mmu.MMU_MACHPHYS_UPDATE : oneOf(h, [0, 0, 0, 0, 2, 3]);
  const low = isWild(h) ? below(h, 4096) : (index(h) << 3) | command;
  wide(h, i, (table << 12) | low, isWild(h) ? noise(h) : table >>> 20);
  if (machphys) wide(h, i + 2, noise(h), chance(h, 64) ? noise(h) : 0);
  else entry(h, i + 2, levelAt(h, where));
}

export function updateVa(h: Hostile): void {
  begin(h, nr.HYPERVISOR_update_va_mapping);
  vaRegister(h, 0, pageVa(h));
  entryRegister(h, 1, 1);
  flushRegister(h, 2);
}

export function updateVaForeign(h: Hostile): void {
  updateVa(h);
  poke(hostile.op(h), nr.HYPERVISOR_update_va_mapping_otherdomain);
  register(h, 3, domid(h), 0);
}

/** An entry in a register: made in the structure first, of which the call then has no more. */
function entryRegister(h: Hostile, i: number, level: number): void {
  entry(h, 0, level);
  register(h, i, peek(hostile.structure(h)), peek(hostile.structure(h) + 1));
}

function flushRegister(h: Hostile, i: number): void {
  const flags = oneOf(h, [0, 1, 2, 2, 4 | 1, 4 | 2]);
  if (chance(h, 32)) vaRegister(h, i, wildVa(h));
  else register(h, i, small(h, 1) | flags, 0);
}

export function pin(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_mmuext_op);
  const level = 1 + below(h, 4);
  const command = chance(h, 16) ? oneOf(h, PIN) : (PIN[level - 1] as number);
  extOp(h, LIST, command, mfn(h, level), frameHi(h));
  listRegisters(h, at, 1, chance(h, 8) ? domid(h) : DOMID_SELF);
}

export function unpin(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_mmuext_op);
  const n = 1 + below(h, 2);
  for (let k = 0; k < n; k++)
    extOp(h, LIST + k * mmu.MMUEXT_OP_WORDS, mmu.MMUEXT_UNPIN_TABLE, mfn(h, 1 + below(h, 4)), 0);
  listRegisters(h, at, n, chance(h, 8) ? domid(h) : DOMID_SELF);
}

export function newBase(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_mmuext_op);
  const user = chance(h, 120);
  const l4 = chance(h, user ? 30 : 190)
    ? peek(hostile.homeL4(h))
    : chance(h, 8)
      ? mfn(h, 4)
      : frameAt(h, frameOfLevel(h, 4));
  extOp(
    h,
    LIST,
    user ? mmu.MMUEXT_NEW_USER_BASEPTR : mmu.MMUEXT_NEW_BASEPTR,
    user && chance(h, 20) ? 0 : l4,
    frameHi(h),
  );
  listRegisters(h, at, 1, DOMID_SELF);
}

/** Flushes, descriptor tables, clearing and copying, and commands that there are not. */
export function ext(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_mmuext_op);
  const n = 1 + below(h, 3);
  for (let k = 0; k < n; k++) {
    const i = LIST + k * mmu.MMUEXT_OP_WORDS;
    const command = isWild(h) ? noise(h) : oneOf(h, OTHERS);
    if (command === mmu.MMUEXT_CLEAR_PAGE || command === mmu.MMUEXT_COPY_PAGE)
      extOp(h, i, command, mfn(h, chance(h, 128) ? below(h, 5) : 0), frameHi(h));
    else {
      extOp(h, i, command, 0, 0);
      vaWords(h, i + mmu.MMUEXT_ARG1, pageVa(h));
    }
    if (command === mmu.MMUEXT_COPY_PAGE) wide(h, i + mmu.MMUEXT_ARG2, mfn(h, 0), frameHi(h));
    else if (command === mmu.MMUEXT_SET_LDT) wide(h, i + mmu.MMUEXT_ARG2, small(h, 512), frameHi(h));
    else vaWords(h, i + mmu.MMUEXT_ARG2, isWild(h) ? wildVa(h) : at);
  }
  listRegisters(h, at, n, chance(h, 16) ? domid(h) : DOMID_SELF);
}

function extOp(h: Hostile, i: number, command: number, lo: number, hi: number): void {
  word(h, i, command);
  word(h, i + 1, 0);
  wide(h, i + mmu.MMUEXT_ARG1, lo, hi);
  wide(h, i + mmu.MMUEXT_ARG2, 0, 0);
}
