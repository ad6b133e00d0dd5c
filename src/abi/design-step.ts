/**
 * What a guest kernel is at, as far as a teardown design can tell: said in the actor's record, read by fault plans.
 *
 * Invariant: stable numbers; an actor that says nothing is at `boot`, where no plan of a scenario injects anything.
 */
export const DESIGN_STEP = {
  /** Before the guest kernel is up, and whoever has no guest kernel. */
  boot: 0,
  /** Anything that is none of the others. */
  run: 1,
  /** mmap of grants. */
  map: 2,
  /** munmap and its like: entries of a live address space go. */
  unmap: 3,
  /** exit_mmap: the notifiers' release. */
  release: 4,
  /** exit_mmap: the arch hook before anything is unmapped. */
  pre: 5,
  /** exit_mmap: all entries go. */
  zap: 6,
  /** exit_mmap: the arch hook after that. */
  post: 7,
  /** exit_mmap: tables are freed. */
  tables: 8,
  /** exit_mmap: VMAs are closed. */
  close: 9,
  /** The last holder of an address space, or of a map, lets go. */
  last: 10,
  /** Deferred work: what could not be unmapped then. */
  deferred: 11,
} as const;

export type DesignStepName = keyof typeof DESIGN_STEP;
export type DesignStep = (typeof DESIGN_STEP)[DesignStepName];
export const DESIGN_STEPS = Object.freeze(Object.keys(DESIGN_STEP) as DesignStepName[]);
