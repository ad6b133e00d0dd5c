/**
 * Groups of what a hostile guest does, as a scenario weighs them.
 *
 * Invariant: plain data; which steps belong to which group is the guest's (guests/hostile/kinds.ts).
 */
export const HOSTILE_GROUPS = ['tables', 'grants', 'memory', 'events', 'rings', 'accesses', 'other'] as const;
export type HostileGroup = (typeof HOSTILE_GROUPS)[number];

/** The weight a group has unless said otherwise. */
export const HOSTILE_USUAL = 10;
