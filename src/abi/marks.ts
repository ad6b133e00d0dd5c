/**
 * Trace points of a guest kernel: what it says it is doing, beside what the hypervisor sees of it.
 *
 * A mark is one trace event of two words: the point in the top byte of the first word with 24 bits of detail below, and
 * a second word. Names are those of Linux's functions and trace events where there are such.
 * Source: ../linux-teardown (steps); Linux include/trace/events/xen.h.
 */
export const MARK = {
  /** The program's own mark; detail: index of its name in the recording's script. */
  user: 1,
  /** The recording is over; begins. */
  end: 2,
  begin: 49,
  do_group_exit: 3,
  do_exit: 4,
  exit_mmap: 5,
  exit_mmap_ret: 6,
  notifier_release: 7,
  notifier_release_ret: 8,
  /** Event; first page and the page after the last, 16 bits each, of the map, or -1 for all. */
  gntdev_invalidate: 9,
  /** Age; pages. */
  unmap_try: 10,
  /** -; pages. */
  gnttab_unmap_refs: 11,
  unmap_done: 12,
  xen_exit_mmap: 13,
  xen_exit_mmap_ret: 14,
  drop_mm_ref_this_cpu: 15,
  leave_mm: 16,
  pgd_pin: 17,
  pgd_pin_ret: 18,
  pgd_unpin: 19,
  pgd_unpin_ret: 20,
  tlb_gather_fullmm: 21,
  tlb_gather_mmu: 22,
  unmap_vmas: 23,
  unmap_vmas_ret: 24,
  /** Upper bits of the first page's number; lower 32. */
  unmap_vma: 25,
  /** PTEs of ordinary pages cleared. */
  zap_rmap: 26,
  free_pgtables: 27,
  free_pgtables_ret: 28,
  /** Level * 1024 + index, bit 23 when it is cleared; frame of the table. */
  set_upper: 29,
  /** Level, bit 8 when pinned; frame of the table. */
  alloc_pt: 30,
  release_pt: 31,
  /** Index; frame of the table. */
  set_pte: 32,
  tlb_finish_mmu: 33,
  tlb_finish_ret: 34,
  gntdev_vma_open: 35,
  gntdev_vma_close: 36,
  gntdev_release: 37,
  mmu_interval_notifier_remove: 38,
  gntdev_free_map: 39,
  /** A multicall buffer is issued. Entries; callbacks. */
  flush: 40,
  /** Queued in the buffer: an alias; bit 0 writable, bit 1 with a TLB flush, level of the table from bit 8; frame. */
  queue_alias: 41,
  /** Command, bit 16 when appended to the entry before; its first argument. */
  queue_mmuext: 42,
  /** Index, bit 16 when appended; frame of the table. */
  queue_update: 43,
  leave_lazy_mmu: 44,
  /** Another vCPU asked for something; what is done for it is not the process's. */
  cross_call: 54,
  cross_call_ret: 55,
  /** A context switch: what is done inside is not the process's. */
  context_switch: 45,
  context_switch_ret: 46,
  do_mas_munmap: 47,
  dup_mmap: 48,
  gntdev_map_grant_pages: 50,
  change_protection: 51,
  move_page_tables: 52,
  flush_tlb_mm_range: 53,
} as const;
export type MarkName = keyof typeof MARK;
export type Mark = (typeof MARK)[MarkName];

export const MARK_SHIFT = 24;
const DETAIL = (1 << MARK_SHIFT) - 1;
/** The first word of a mark. */
export const markWord = (mark: Mark, detail: number): number => (mark << MARK_SHIFT) | (detail & DETAIL);
export const markOf = (word: number): number => word >>> MARK_SHIFT;
export const markDetail = (word: number): number => word & DETAIL;

export const MARK_CLEARED = 1 << 23;
export const MARK_PINNED = 1 << 8;
export const MARK_APPENDED = 1 << 16;
export const MARK_ALIAS_RW = 1;
export const MARK_ALIAS_FLUSH = 2;
