/**
 * Named injection sites: the places where a plan may make an operation answer a failure, or make something happen.
 *
 * Invariant: numbers are stable and dense from 0 (they index the plan's table in shared memory). A site is asked before
 * its operation has had any effect, unless it says otherwise, and may only answer what the real operation could.
 * Source: DESIGN decision 9; the recordings for the statuses; Linux Documentation/fault-injection/fault-injection.rst.
 */
export const SITE = {
  'gnttab.unmap': 0,
  'mmuext.unpin': 1,
  'page.alloc': 2,
  'flush.late': 3,
  'gnttab.map': 4,
  'gnttab.map.install': 5,
  'gnttab.unmap_and_replace': 6,
  'gnttab.copy': 7,
  'gnttab.transfer': 8,
  mmu_update: 9,
  'mmuext.pin': 10,
  update_va_mapping: 11,
  memory_op: 12,
  'guest.page.alloc': 13,
  'guest.record.alloc': 14,
  'event.lost': 15,
  'event.duplicated': 16,
  'event.late': 17,
  'hypercall.preempt': 18,
  'vcpu.pause': 19,
  'vcpu.dead': 20,
  'domain.destroy': 21,
  'memory.late': 22,
} as const;

export type SiteName = keyof typeof SITE;
export type Site = (typeof SITE)[SiteName];

export const SITES: readonly SiteName[] = Object.freeze(Object.keys(SITE) as SiteName[]);
