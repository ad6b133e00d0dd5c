/**
 * Named injection sites: the places where a plan may make an operation answer a failure of its choosing.
 *
 * Invariant: numbers are stable and dense from 0 (they index the plan's table in shared memory).
 * Source: DESIGN decision 9; Linux Documentation/fault-injection/fault-injection.rst for the shape of a plan.
 */
export const SITE = {
  /** Unmapping a grant answers the plan's GNTST status, nothing done. */
  'gnttab.unmap': 0,
  /** MMUEXT_UNPIN_TABLE answers the plan's errno, nothing done. */
  'mmuext.unpin': 1,
  /** Allocating a frame for a guest fails. */
  'page.alloc': 2,
  /** A flush request is acknowledged late: the status is the number of polls that pass before. */
  'flush.late': 3,
  /** Installing a grant's page-table entry answers the plan's GNTST status; what was taken before is given back. */
  'gnttab.map': 4,
} as const;

export type SiteName = keyof typeof SITE;
export type Site = (typeof SITE)[SiteName];

export const SITES: readonly SiteName[] = Object.freeze(Object.keys(SITE) as SiteName[]);
