/**
 * The one order in which locks are taken: a lock's rank must be above every rank the actor holds.
 *
 * Guests' locks come first because a guest may hold them across a hypercall; Xen's order is [X49], [X12].
 * An indented rank is taken inside the one above it. EQUAL_OK ranks may be nested in themselves (by address order).
 */
export const RANK = {
  // guest kernel
  guestCall: 8,
  guestMmapLock: 10,
  /**/ guestNotifier: 14,
  /*  */ guestDriver: 18,
  /**/ guestRmap: 22,
  /**/ guestPageTable: 24,
  /*  */ guestPteLock: 28,
  guestKept: 32,
  guestRunqueue: 34,
  guestP2m: 38,
  guestBalloon: 40,
  guestLru: 42,
  guestAllocator: 44,
  guestSlab: 48,
  // hypervisor
  domctl: 60,
  /**/ domainLock: 64,
  grantTable: 70,
  /**/ grantActive: 74,
  /*  */ maptrackGrowth: 76,
  /*  */ maptrackFreelist: 78,
  /*  */ pageLock: 80,
  l3tLock: 82,
  domainEvents: 83,
  /**/ eventChannel: 84,
  pageAlloc: 88,
  heap: 90,
  arena: 94,
} as const;

export type Rank = (typeof RANK)[keyof typeof RANK];

/** Ranks of which one actor may hold several (the caller states the order it takes them in). */
export const EQUAL_OK: ReadonlySet<number> = Object.freeze(
  new Set<number>([RANK.guestPteLock, RANK.grantActive, RANK.domainEvents, RANK.eventChannel]),
);

const names: ReadonlyMap<number, string> = new Map<number, string>(
  Object.entries(RANK).map(([name, rank]) => [rank, name]),
);
export const rankName = (rank: number): string => names.get(rank) ?? `rank ${String(rank)}`;
