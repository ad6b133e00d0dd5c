/** The rows: what is asked, by which files, and the goal of reference performance.md 6. */
import { CONTROLLED_ROWS } from './rows-controlled.js';

export interface Row {
  readonly name: string;
  readonly question: string;
  readonly build: 'parallel' | 'controlled';
  /** bench/<side>.ts, and its argument. */
  readonly side: string;
  readonly arg?: string;
  /** bench/c/<c>.c, and its argument when it is another; both sides must come to the same checksum. */
  readonly c?: string;
  readonly cArg?: string;
  /** Without C: the same side with this argument is the reference. */
  readonly against?: string;
  /** Largest ratio wanted; with `absolute` nanoseconds, with `throughput` the smallest ratio of rates. */
  readonly goal?: number;
  readonly absolute?: boolean;
  readonly throughput?: boolean;
  readonly mib?: number;
}

/** On threads, against C. */
const THREADS: readonly Row[] = [
  {
    name: 'load, TLB hit, 256 pages',
    question: 'a guest load of 64 bits that the TLB serves',
    build: 'parallel',
    side: 'load',
    arg: '256',
    c: 'load',
    goal: 2.5,
  },
  {
    name: 'walk, cached (2 MiB)',
    question: 'a 4-level walk, tables in the cache',
    build: 'parallel',
    side: 'walk',
    arg: '512',
    c: 'walk',
    goal: 1.25,
  },
  {
    name: 'walk, 64 MiB',
    question: 'a 4-level walk over 64 MiB in random order',
    build: 'parallel',
    side: 'walk',
    arg: '16384',
    c: 'walk',
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
    mib: 128,
  },
  {
    name: 'teardown, batches of 32',
    question: 'the same, 32 entries per mmu_update, against as many separate locked updates without a gate',
    build: 'parallel',
    side: 'teardown',
    arg: '16384 32',
    c: 'teardown',
    cArg: '16384 direct',
    goal: 0.9,
    mib: 128,
  },
  {
    name: 'grant map + unmap',
    question: 'mapping and unmapping a grant, two hypercalls and their arguments included',
    build: 'parallel',
    side: 'grants',
    arg: 'alone',
    c: 'grants',
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
    name: 'update, direct',
    question: 'one entry cleared under its page lock, without gate and arguments',
    build: 'parallel',
    side: 'direct',
    arg: 'update',
    c: 'teardown',
    cArg: '16384 direct',
    goal: 1.75,
    mib: 128,
  },
  {
    name: 'grant, direct',
    question: 'a grant mapped and unmapped, without gate and arguments',
    build: 'parallel',
    side: 'direct',
    arg: 'grant',
    c: 'grants',
    cArg: 'direct',
    goal: 1.5,
  },
  {
    name: 'mutex',
    question: 'lock and unlock, nobody waiting; order check included on our side',
    build: 'parallel',
    side: 'mutex',
    arg: '',
    c: 'mutex',
    cArg: '',
    goal: 1.15,
  },
  {
    name: 'zero page, hot',
    question: 'zero of one page again and again',
    build: 'parallel',
    side: 'page',
    arg: 'zero 1',
    c: 'page',
    goal: 1.6,
  },
  {
    name: 'zero page, cold',
    question: 'zero of pages all over 16 MiB',
    build: 'parallel',
    side: 'page',
    arg: 'zero 4096',
    c: 'page',
    goal: 1.05,
    mib: 64,
  },
  {
    name: 'copy page, hot',
    question: 'copy of one page again and again',
    build: 'parallel',
    side: 'page',
    arg: 'copy 1',
    c: 'page',
    goal: 1.6,
  },
  {
    name: 'copy page, cold',
    question: 'copy of pages all over 16 MiB',
    build: 'parallel',
    side: 'page',
    arg: 'copy 4096',
    c: 'page',
    goal: 1.05,
    mib: 64,
  },
  {
    name: 'count present',
    question: 'present entries of one table',
    build: 'parallel',
    side: 'page',
    arg: 'count 1',
    c: 'page',
    goal: 2.2,
  },
];

export const ROWS: readonly Row[] = [...THREADS, ...CONTROLLED_ROWS];
