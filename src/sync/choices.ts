/**
 * Choices beside the switches: the places where the machine itself may do one thing or another, and a schedule says which.
 *
 * Invariant: numbers are stable and dense from 0, since tokens carry them; option 0 is always what the machine does by
 * itself, so that a schedule that says nothing, the parallel build and a lone actor all do that.
 * Source: DESIGN decisions 4, 5 and 9.
 */
export const CHOICE = {
  /** A TLB entry is kept (0) or displaced (1) where the processor is free to do either. */
  'tlb.evict': 0,
  /** A requested flush is served at this look at the requests (0) or at a later one (1). */
  'flush.deliver': 1,
  /** A pending event is delivered at this look (0) or at a later one (1). */
  'event.deliver': 2,
  /** A long hypercall goes on (0) or is preempted here and continued (1). */
  'hypercall.preempt': 3,
  /** An occurrence that a rule of the fault plan concerns goes well (0) or fails with one of the rule's answers (1 on). */
  fault: 4,
} as const;

export type ChoiceName = keyof typeof CHOICE;

export const CHOICES: readonly ChoiceName[] = Object.freeze(Object.keys(CHOICE) as ChoiceName[]);

/** The name of choice `what` for people. */
export const choiceName = (what: number): string => CHOICES[what] ?? `choice ${String(what)}`;
