/**
 * Grant tables: operations, flags, statuses and argument layouts (offsets in 32-bit words).
 *
 * Source: xen/include/public/grant_table.h; [X38]-[X60].
 */
export const GNTTABOP_map_grant_ref = 0;
export const GNTTABOP_unmap_grant_ref = 1;
export const GNTTABOP_setup_table = 2;
export const GNTTABOP_dump_table = 3;
export const GNTTABOP_transfer = 4;
export const GNTTABOP_copy = 5;
export const GNTTABOP_query_size = 6;
export const GNTTABOP_unmap_and_replace = 7;
export const GNTTABOP_set_version = 8;
export const GNTTABOP_get_status_frames = 9;
export const GNTTABOP_get_version = 10;
export const GNTTABOP_swap_grant_ref = 11;
export const GNTTABOP_cache_flush = 12;

export const GTF_invalid = 0;
export const GTF_permit_access = 1;
export const GTF_accept_transfer = 2;
export const GTF_transitive = 3;
export const GTF_type_mask = 3;
export const GTF_readonly = 4;
export const GTF_reading = 8;
export const GTF_writing = 16;
export const GTF_PWT = 32;
export const GTF_PCD = 64;
export const GTF_PAT = 128;
export const GTF_sub_page = 256;
export const GTF_transfer_committed = 4;
export const GTF_transfer_completed = 8;

export const GNTMAP_device_map = 1;
export const GNTMAP_host_map = 2;
export const GNTMAP_readonly = 4;
export const GNTMAP_application_map = 8;
export const GNTMAP_contains_pte = 16;
export const GNTMAP_guest_avail0 = 16;

export const GNTST_okay = 0;
export const GNTST_general_error = -1;
export const GNTST_bad_domain = -2;
export const GNTST_bad_gntref = -3;
export const GNTST_bad_handle = -4;
export const GNTST_bad_virt_addr = -5;
export const GNTST_bad_dev_addr = -6;
export const GNTST_no_device_space = -7;
export const GNTST_permission_denied = -8;
export const GNTST_bad_page = -9;
export const GNTST_bad_copy_arg = -10;
export const GNTST_address_too_big = -11;
export const GNTST_eagain = -12;
export const GNTST_no_space = -13;

/** v1 entry: u16 flags, u16 domid, u32 frame. 512 a frame. */
export const GRANT_V1_WORDS = 2;
/** v2 entry: header word, then by kind. 256 a frame; status words are u16, 2048 a frame. */
export const GRANT_V2_WORDS = 4;
export const GRANT_V1_PER_FRAME = 512;
export const GRANT_V2_PER_FRAME = 256;
export const GRANT_STATUS_PER_FRAME = 2048;
export const GNTTAB_RESERVED_ENTRIES = 8;

export const INVALID_HANDLE = 0xffffffff;
export const INVALID_GREF = 0xffffffff;

/** struct gnttab_map_grant_ref: u64 host_addr; u32 flags, ref; u16 dom | s16 status; u32 handle; u64 dev_bus_addr. */
export const MAP_GRANT_WORDS = 8;
export const MAP_FLAGS = 2;
export const MAP_REF = 3;
/** dom in the low half, then status in the high half of word 4. */
export const MAP_DOM = 4;
export const MAP_HANDLE = 5;
export const MAP_DEV = 6;

/** struct gnttab_unmap_grant_ref: u64 host_addr, u64 dev_bus_addr, u32 handle, s16 status. */
export const UNMAP_GRANT_WORDS = 6;
export const UNMAP_DEV = 2;
export const UNMAP_HANDLE = 4;
export const UNMAP_STATUS = 5;

/** struct gnttab_unmap_and_replace: u64 host_addr, u64 new_addr, u32 handle, s16 status. */
export const REPLACE_WORDS = 6;
export const REPLACE_NEW = 2;
export const REPLACE_HANDLE = 4;
export const REPLACE_STATUS = 5;
