/**
 * memory_op: commands and argument layouts (offsets in 32-bit words).
 *
 * Source: xen/include/public/memory.h.
 */
export const XENMEM_increase_reservation = 0;
export const XENMEM_decrease_reservation = 1;
export const XENMEM_current_reservation = 3;
export const XENMEM_maximum_reservation = 4;
export const XENMEM_populate_physmap = 6;
export const XENMEM_exchange = 11;

/** struct xen_memory_reservation: u64 extent_start (pointer), u64 nr_extents, u32 extent_order, u32 mem_flags, u16 domid. */
export const RESERVATION_WORDS = 8;
export const RESERVATION_EXTENTS = 0;
export const RESERVATION_NR = 2;
export const RESERVATION_ORDER = 4;
export const RESERVATION_FLAGS = 5;
export const RESERVATION_DOMID = 6;

/** struct xen_memory_exchange: reservation in, reservation out, u64 nr_exchanged. */
export const EXCHANGE_WORDS = 18;
export const EXCHANGE_IN = 0;
export const EXCHANGE_OUT = 8;
export const EXCHANGE_DONE = 16;
