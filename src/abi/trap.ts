/**
 * Traps as a 64-bit PV guest meets them.
 *
 * Source: xen/include/public/arch-x86/xen.h (struct trap_info); x86 page fault error code; xen/arch/x86/pv/traps.c.
 */
export const TRAP_gp_fault = 13;
export const TRAP_page_fault = 14;

/** Page fault error code: the entry was present (a protection fault). */
export const PFEC_page_present = 1;
export const PFEC_write_access = 2;
/** Set for guest user mode only, although guest kernels run at CPL 3 too: Xen clears it for them. */
export const PFEC_user_mode = 4;
/** A reserved bit was set, or the frame lies beyond the machine. */
export const PFEC_reserved_bit = 8;
export const PFEC_insn_fetch = 16;
