/**
 * Names of commands in tapes, and the numbers they stand for.
 *
 * Source: tapes FORMAT.md (mmuext, mmu_update); xen/include/public/xen.h.
 */
import * as mmu from '../../abi/mmu.js';

/** A command that Xen does not know. */
const BOGUS = 77;
export const MMUEXT_COMMANDS = {
  PIN_L1_TABLE: mmu.MMUEXT_PIN_L1_TABLE,
  PIN_L2_TABLE: mmu.MMUEXT_PIN_L2_TABLE,
  PIN_L3_TABLE: mmu.MMUEXT_PIN_L3_TABLE,
  PIN_L4_TABLE: mmu.MMUEXT_PIN_L4_TABLE,
  UNPIN_TABLE: mmu.MMUEXT_UNPIN_TABLE,
  NEW_BASEPTR: mmu.MMUEXT_NEW_BASEPTR,
  NEW_USER_BASEPTR: mmu.MMUEXT_NEW_USER_BASEPTR,
  TLB_FLUSH_LOCAL: mmu.MMUEXT_TLB_FLUSH_LOCAL,
  TLB_FLUSH_MULTI: mmu.MMUEXT_TLB_FLUSH_MULTI,
  TLB_FLUSH_ALL: mmu.MMUEXT_TLB_FLUSH_ALL,
  INVLPG_LOCAL: mmu.MMUEXT_INVLPG_LOCAL,
  INVLPG_MULTI: mmu.MMUEXT_INVLPG_MULTI,
  INVLPG_ALL: mmu.MMUEXT_INVLPG_ALL,
  FLUSH_CACHE: mmu.MMUEXT_FLUSH_CACHE,
  FLUSH_CACHE_GLOBAL: mmu.MMUEXT_FLUSH_CACHE_GLOBAL,
  SET_LDT: mmu.MMUEXT_SET_LDT,
  CLEAR_PAGE: mmu.MMUEXT_CLEAR_PAGE,
  COPY_PAGE: mmu.MMUEXT_COPY_PAGE,
  MARK_SUPER: mmu.MMUEXT_MARK_SUPER,
  UNMARK_SUPER: mmu.MMUEXT_UNMARK_SUPER,
  BOGUS,
} as const;
export const UPDATE_COMMANDS = {
  NORMAL: mmu.MMU_NORMAL_PT_UPDATE,
  MACHPHYS: mmu.MMU_MACHPHYS_UPDATE,
  PRESERVE_AD: mmu.MMU_PT_UPDATE_PRESERVE_AD,
  NO_TRANSLATE: mmu.MMU_PT_UPDATE_NO_TRANSLATE,
} as const;

const keys = <K extends string>(o: Readonly<Record<K, number>>): [K, ...K[]] => Object.keys(o) as [K, ...K[]];
export const MMUEXT_NAMES = keys(MMUEXT_COMMANDS);
export const UPDATE_NAMES = keys(UPDATE_COMMANDS);
