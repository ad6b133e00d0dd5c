/**
 * domctl: commands and argument layouts (offsets in 32-bit words).
 *
 * Source: xen/include/public/domctl.h (Xen 4.17).
 */
export const XEN_DOMCTL_INTERFACE_VERSION = 0x15;

export const XEN_DOMCTL_createdomain = 1;
export const XEN_DOMCTL_destroydomain = 2;
export const XEN_DOMCTL_pausedomain = 3;
export const XEN_DOMCTL_unpausedomain = 4;
export const XEN_DOMCTL_getdomaininfo = 5;
export const XEN_DOMCTL_max_mem = 11;
export const XEN_DOMCTL_getpageframeinfo3 = 61;

/** struct xen_domctl: u32 cmd, u32 interface_version, u16 domain, pad; then the command's own structure. */
export const DOMCTL_WORDS = 36;
export const DOMCTL_CMD = 0;
export const DOMCTL_VERSION = 1;
/** Domain in the low half of the word. */
export const DOMCTL_DOMAIN = 2;
export const DOMCTL_U = 4;

/**
 * struct xen_domctl_getdomaininfo: u16 domain, u32 flags, then u64 tot_pages, max_pages, outstanding_pages, shr_pages,
 * paged_pages, shared_info_frame, cpu_time. Offsets within the command's structure.
 */
export const INFO_DOMAIN = 0;
export const INFO_FLAGS = 1;
export const INFO_TOT_PAGES = 2;
export const INFO_MAX_PAGES = 4;
export const INFO_SHR_PAGES = 8;
export const XEN_DOMINF_dying = 1 << 0;
export const XEN_DOMINF_shutdown = 1 << 2;
export const XEN_DOMINF_paused = 1 << 3;
export const XEN_DOMINF_blocked = 1 << 4;
export const XEN_DOMINF_running = 1 << 5;
export const XEN_DOMINF_shutdownshift = 16;

/** struct xen_domctl_getpageframeinfo3: u64 num, u64 array (pointer to u64 frame numbers, overwritten by types). */
export const FRAMEINFO_NUM = 0;
export const FRAMEINFO_ARRAY = 2;
export const FRAMEINFO_MAX = 1024;
/** Types, in bits 31..28 of each answer. */
export const XEN_DOMCTL_PFINFO_NOTAB = 0;
export const XEN_DOMCTL_PFINFO_L1TAB = 1 << 28;
export const XEN_DOMCTL_PFINFO_LTABTYPE_MASK = 7 << 28;
export const XEN_DOMCTL_PFINFO_LPINTAB = 1 << 31;
export const XEN_DOMCTL_PFINFO_XTAB = 15 << 28;

/**
 * struct xen_domctl_createdomain, in 32-bit words: ssidref, handle (4), flags, iommu_opts, max_vcpus, max_evtchn_port,
 * max_grant_frames, max_maptrack_frames (both negative: Xen's default), grant_opts. Offsets within the command's structure.
 */
export const CREATE_MAX_VCPUS = 7;
export const CREATE_MAX_GRANT_FRAMES = 9;
export const CREATE_MAX_MAPTRACK_FRAMES = 10;
export const CREATE_GRANT_OPTS = 11;
/** Highest grant table version, in the low bits of grant_opts; 0: Xen's default. */
export const XEN_DOMCTL_GRANT_version_mask = 0xf;
