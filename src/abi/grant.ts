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

/** struct gnttab_setup_table: u16 dom, u32 nr_frames, s16 status, u64 frame_list. */
export const SETUP_TABLE_WORDS = 6;
export const SETUP_NR = 1;
export const SETUP_STATUS = 2;
export const SETUP_LIST = 4;

/** struct gnttab_transfer: u64 mfn, u16 domid, u32 ref, s16 status. */
export const TRANSFER_WORDS = 6;
export const TRANSFER_DOM = 2;
export const TRANSFER_REF = 3;
export const TRANSFER_STATUS = 4;

/** struct gnttab_copy_ptr: u32 ref or u64 gmfn, u16 domid, u16 offset. */
export const COPY_PTR_WORDS = 4;
/** domid in the low half, offset in the high half. */
export const COPY_PTR_WHERE = 2;
/** struct gnttab_copy: source, dest, u16 len, u16 flags, s16 status. */
export const COPY_WORDS = 10;
export const COPY_SOURCE = 0;
export const COPY_DEST = 4;
/** len in the low half, flags in the high half. */
export const COPY_LEN = 8;
export const COPY_STATUS = 9;
export const GNTCOPY_source_gref = 1;
export const GNTCOPY_dest_gref = 2;

/** struct gnttab_query_size: u16 dom, u32 nr_frames, u32 max_nr_frames, s16 status. */
export const QUERY_SIZE_WORDS = 4;
export const QUERY_NR = 1;
export const QUERY_MAX = 2;
export const QUERY_STATUS = 3;

/** struct gnttab_set_version: u32 version. */
export const SET_VERSION_WORDS = 1;

/** struct gnttab_get_status_frames: u32 nr_frames, u16 dom | s16 status, u64 frame_list. */
export const STATUS_FRAMES_WORDS = 4;
export const STATUS_FRAMES_DOM = 1;
export const STATUS_FRAMES_LIST = 2;

/** struct gnttab_get_version: u16 dom, u16 pad, u32 version. */
export const GET_VERSION_WORDS = 2;
export const GET_VERSION_RESULT = 1;

/** struct gnttab_swap_grant_ref: u32 ref_a, u32 ref_b, s16 status. */
export const SWAP_WORDS = 3;
export const SWAP_STATUS = 2;

/** struct gnttab_cache_flush: u64 dev_bus_addr or u32 ref, u16 offset, u16 length, u32 op. */
export const CACHE_FLUSH_WORDS = 4;
/** offset in the low half, length in the high half. */
export const CACHE_RANGE = 2;
export const CACHE_OP = 3;
export const GNTTAB_CACHE_CLEAN = 1;
export const GNTTAB_CACHE_INVAL = 2;

/** Halves of a word that carries two u16 fields. */
export const lowHalf = (w: number): number => w & 0xffff;
export const highHalf = (w: number): number => w >>> 16;
export const withLowHalf = (w: number, v: number): number => (w & ~0xffff) | (v & 0xffff);
export const withHighHalf = (w: number, v: number): number => (w & 0xffff) | (v << 16);

/** Word of a v2 entry that holds: sub-page offset | length; full and sub-page frame; transitive domain, then ref. */
export const V2_RANGE = 1;
export const V2_FRAME = 2;
export const V2_TRANS_DOM = 1;
export const V2_TRANS_REF = 2;
