/**
 * mmu_update, mmuext_op and update_va_mapping: commands and argument layouts (offsets in 32-bit words).
 *
 * Source: xen/include/public/xen.h; [X19], [X31], [X35].
 */

/** struct mmu_update: u64 ptr, u64 val. */
export const MMU_UPDATE_WORDS = 4;
export const MMU_NORMAL_PT_UPDATE = 0;
export const MMU_MACHPHYS_UPDATE = 1;
export const MMU_PT_UPDATE_PRESERVE_AD = 2;
export const MMU_PT_UPDATE_NO_TRANSLATE = 3;
/** Bit 31 of a count: this call is a continuation. */
export const MMU_UPDATE_PREEMPTED = 1 << 31;

/** struct mmuext_op: u32 cmd, pad, u64 arg1 (mfn or linear address), u64 arg2 (nr_ents, pointer or src mfn). */
export const MMUEXT_OP_WORDS = 6;
export const MMUEXT_ARG1 = 2;
export const MMUEXT_ARG2 = 4;
export const MMUEXT_PIN_L1_TABLE = 0;
export const MMUEXT_PIN_L2_TABLE = 1;
export const MMUEXT_PIN_L3_TABLE = 2;
export const MMUEXT_PIN_L4_TABLE = 3;
export const MMUEXT_UNPIN_TABLE = 4;
export const MMUEXT_NEW_BASEPTR = 5;
export const MMUEXT_TLB_FLUSH_LOCAL = 6;
export const MMUEXT_INVLPG_LOCAL = 7;
export const MMUEXT_TLB_FLUSH_MULTI = 8;
export const MMUEXT_INVLPG_MULTI = 9;
export const MMUEXT_TLB_FLUSH_ALL = 10;
export const MMUEXT_INVLPG_ALL = 11;
export const MMUEXT_FLUSH_CACHE = 12;
export const MMUEXT_SET_LDT = 13;
export const MMUEXT_NEW_USER_BASEPTR = 15;
export const MMUEXT_CLEAR_PAGE = 16;
export const MMUEXT_COPY_PAGE = 17;
export const MMUEXT_FLUSH_CACHE_GLOBAL = 18;
export const MMUEXT_MARK_SUPER = 19;
export const MMUEXT_UNMARK_SUPER = 20;

/** vm_assist: commands, and the types that this hypervisor knows the meaning of. */
export const VMASST_CMD_enable = 0;
export const VMASST_CMD_disable = 1;
/** Stores through read-only mappings of L1s are emulated ([X36]). */
export const VMASST_TYPE_writable_pagetables = 2;
/** The M2P is hidden from user tables. */
export const VMASST_TYPE_m2p_strict = 32;

export const UVMF_NONE = 0;
export const UVMF_TLB_FLUSH = 1;
export const UVMF_INVLPG = 2;
export const UVMF_FLUSHTYPE_MASK = 3;
export const UVMF_LOCAL = 0;
export const UVMF_ALL = 4;

/** struct multicall_entry: u64 op, u64 result (first unsigned long is op), u64 args[6]. */
export const MULTICALL_WORDS = 16;
export const MULTICALL_RESULT = 2;
export const MULTICALL_ARGS = 4;
