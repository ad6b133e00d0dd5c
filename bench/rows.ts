/** The rows: what is asked, by which files, and the goal of reference performance.md 6. */
export interface Row {
  readonly name: string;
  readonly question: string;
  readonly build: 'parallel' | 'controlled';
  /** bench/<side>.ts, and its argument. */
  readonly side: string;
  readonly arg?: string;
  /** bench/c/<c>.c, and its argument when it is another. */
  readonly c?: string;
  readonly cArg?: string;
  /** Without C: the same side with this argument is the reference. */
  readonly against?: string;
  /** Largest ratio wanted; with `absolute` nanoseconds, with `throughput` the smallest ratio of rates. */
  readonly goal?: number;
  readonly absolute?: boolean;
  readonly throughput?: boolean;
  /** Both sides must compute the same checksum. */
  readonly sameSum?: boolean;
  readonly mib?: number;
}

export const ROWS: readonly Row[] = [
  {
    name: 'load, TLB hit, 256 pages',
    question: 'a guest load of 64 bits that the TLB serves',
    build: 'parallel',
    side: 'load',
    arg: '256',
    c: 'load',
    goal: 2.5,
    sameSum: true,
  },
  {
    name: 'walk, cached (2 MiB)',
    question: 'a 4-level walk, tables in the cache',
    build: 'parallel',
    side: 'walk',
    arg: '512',
    c: 'walk',
    sameSum: true,
    goal: 1.25,
  },
  {
    name: 'walk, 64 MiB',
    question: 'a 4-level walk over 64 MiB in random order',
    build: 'parallel',
    side: 'walk',
    arg: '16384',
    c: 'walk',
    sameSum: true,
    goal: 1.4,
    mib: 128,
  },
  {
    name: 'walk, first touch',
    question: 'the same, each walk setting accessed and dirty',
    build: 'parallel',
    side: 'walk',
    arg: '16384 touch',
    c: 'walk',
    sameSum: true,
    goal: 1.5,
    mib: 128,
  },
  {
    name: 'pin, 64 MiB',
    question: 'pinning a tree, per L1 entry, against two 32-bit compare-exchanges as in Xen',
    build: 'parallel',
    side: 'pin',
    arg: '16384 pin',
    c: 'pin',
    cArg: '16384 pin two',
    goal: 0.8,
    mib: 128,
  },
  {
    name: 'pin, 64 MiB, one cmpxchg',
    question: 'the same against one 64-bit compare-exchange',
    build: 'parallel',
    side: 'pin',
    arg: '16384 pin',
    c: 'pin',
    cArg: '16384 pin one',
    goal: 1.2,
    mib: 128,
  },
  {
    name: 'unpin, 64 MiB',
    question: 'unpinning a tree, per L1 entry, against two 32-bit compare-exchanges',
    build: 'parallel',
    side: 'pin',
    arg: '16384 unpin',
    c: 'pin',
    cArg: '16384 unpin two',
    goal: 0.7,
    mib: 128,
  },
  {
    name: 'pin, 1 GiB',
    question: 'pinning a tree over 1 GiB, per L1 entry',
    build: 'parallel',
    side: 'pin',
    arg: '262144 pin',
    c: 'pin',
    cArg: '262144 pin two',
    goal: 1.0,
    mib: 2048,
  },
  {
    name: 'controlled: pin, 64 MiB',
    question: 'the same in the controlled build, against atomic C',
    build: 'controlled',
    side: 'pin',
    arg: '16384 pin',
    c: 'pin',
    cArg: '16384 pin two',
    goal: 0.6,
    mib: 128,
  },
  {
    name: 'teardown, plain store',
    question: "clearing an entry of a table that is in nobody's use, by a store",
    build: 'parallel',
    side: 'teardown',
    arg: '16384 stores',
    c: 'teardown',
    goal: 1.3,
    mib: 128,
  },
  {
    name: 'teardown, one hypercall each',
    question: 'clearing an entry of a table in use, one mmu_update per entry, gate and arguments included',
    build: 'parallel',
    side: 'teardown',
    arg: '16384 1',
    c: 'teardown',
    goal: 1.75,
    mib: 128,
  },
  {
    name: 'teardown, batches of 32',
    question: 'the same, 32 entries per mmu_update',
    build: 'parallel',
    side: 'teardown',
    arg: '16384 32',
    c: 'teardown',
    goal: 0.9,
    mib: 128,
  },
  {
    name: 'controlled: one hypercall each',
    question: 'one mmu_update per entry in the controlled build, against atomic C',
    build: 'controlled',
    side: 'teardown',
    arg: '16384 1',
    c: 'teardown',
    goal: 0.6,
    mib: 128,
  },
  {
    name: 'grant map + unmap',
    question: 'mapping and unmapping a grant, two hypercalls and their arguments included',
    build: 'parallel',
    side: 'grants',
    arg: 'alone',
    c: 'grants',
    goal: 1.5,
  },
  {
    name: 'grant, 2 threads',
    question: 'two threads on disjoint granters: how many times the rate of one',
    build: 'parallel',
    side: 'grants',
    arg: '2',
    against: '1',
    goal: 1.8,
    throughput: true,
  },
  {
    name: 'controlled: grant',
    question: 'mapping and unmapping a grant in the controlled build, against atomic C',
    build: 'controlled',
    side: 'grants',
    arg: 'alone',
    c: 'grants',
    goal: 0.6,
  },
];
