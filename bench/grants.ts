/**
 * What does mapping and unmapping a grant cost, two hypercalls and their arguments included? `arg`: number of threads,
 * each a mapper with a granter of its own.
 */
import { Worker } from 'node:worker_threads';
import type { Mfn, Va } from '../src/abi/frames.js';
import {
  GNTMAP_host_map,
  GNTTABOP_map_grant_ref,
  GNTTABOP_unmap_grant_ref,
  GTF_permit_access,
  MAP_DOM,
  MAP_FLAGS,
  MAP_HANDLE,
  UNMAP_HANDLE,
} from '../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../src/abi/hypercall.js';
import { newGuestCr3 } from '../src/hypervisor/base.js';
import { buildDomain, hypervisorBoot } from '../src/hypervisor/boot.js';
import { domain, findDomain, vcpuOf } from '../src/hypervisor/domain.js';
import { sharedEntry, type GrantTable } from '../src/hypervisor/grant/table.js';
import { memory, words } from '../src/ops/memory.js';
import { CONTROL, cpuAt, cpuIndex, HEADER_BASE } from '../src/sync/actor.js';
import { peek, run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Vcpu } from '../src/vcpu/guest-cpu.js';
import type { Measure } from './measure.js';
import { argumentVa, benchCpu, framesOf, layKernel, layTree, pageVa } from './world.js';

export const REFS = 64;
export const FIRST_REF = 8;
const PAIRS = 1024;
/** Two words at the end of the header, which nobody else uses here: start signal, threads ready or done. */
const START = HEADER_BASE + 60;
const COUNT = HEADER_BASE + 61;

/** Mapper 2n+1 and its granter 2n+2, with REFS grants; answers the mapper's actor index. */
function* makePair(n: number): Steps<number> {
  const mapper = yield* buildDomain(CONTROL, { domid: 2 * n + 1, pages: 24 });
  const granter = yield* buildDomain(CONTROL, { domid: 2 * n + 2, pages: REFS });
  const frames = framesOf(2 * n + 1);
  const take = (): Mfn => frames.pop() as Mfn;
  const base = layTree(take, [take()]);
  layKernel(take, base.l4);
  const rc = yield* newGuestCr3(vcpuOf(mapper, 0), base.l4, 0);
  if (rc !== 0) throw new Error(`the base is refused: ${String(rc)}`);
  const table = peek(domain.grantTable(granter)) as GrantTable;
  const granted = framesOf(2 * n + 2);
  for (let i = 0; i < REFS; i++) {
    const entry = yield* sharedEntry(table, 1, FIRST_REF + i);
    words[entry + 1] = granted[i] as Mfn;
    words[entry] = GTF_permit_access | ((2 * n + 1) << 16);
  }
  return cpuIndex(vcpuOf(mapper, 0));
}

function* grantOp(g: Vcpu, op: number, at: Va): Steps<void> {
  g.arg(0, op, 0);
  g.argVa(1, at);
  g.arg(2, 1, 0);
  const rc = yield* g.hypercall(HYPERVISOR_grant_table_op);
  if (rc !== 0) throw new Error(`grant_table_op answers ${String(rc)}`);
}

/** Maps and unmaps `pairs` times at page 100 of the mapper's first L1; answers the sum of the handles. */
export function* pairs(g: Vcpu, granter: number, count: number): Steps<number> {
  const at = argumentVa(0);
  const unmap = argumentVa(0, 64);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const va = pageVa(100 + (i & 63));
    yield* g.store(at, va, 0);
    yield* g.store((at + 4 * MAP_FLAGS) as Va, GNTMAP_host_map, FIRST_REF + (i % REFS));
    yield* g.store32((at + 4 * MAP_DOM) as Va, granter);
    yield* grantOp(g, GNTTABOP_map_grant_ref, at);
    const handle = yield* g.load32((at + 4 * MAP_HANDLE) as Va);
    if ((yield* g.load32((at + 4 * MAP_DOM) as Va)) >>> 16 !== 0) throw new Error('the map fails');
    sum = (sum + handle) | 0;
    yield* g.store(unmap, va, 0);
    yield* g.store((unmap + 8) as Va, 0, 0);
    yield* g.store((unmap + 4 * UNMAP_HANDLE) as Va, handle, 0);
    yield* grantOp(g, GNTTABOP_unmap_grant_ref, unmap);
    if ((yield* g.load32((unmap + 4 * UNMAP_HANDLE + 4) as Va)) << 16 !== 0) throw new Error('the unmap fails');
  }
  return sum;
}

/** Boots `threads` pairs of mapper and granter; answers the mappers' actor indices. */
export function makeMachine(threads: number): number[] {
  hypervisorBoot({});
  return run(function* () {
    const all: number[] = [];
    for (let n = 0; n < threads; n++) all.push(yield* makePair(n));
    return all;
  });
}

/** Thread `n`: waits for the word at START to move on, maps and unmaps, says so. */
export function serve(n: number, index: number): void {
  const g = benchCpu(cpuAt(index));
  run(function* () {
    yield* g.start();
  });
  for (let round = 1; ; round++) {
    Atomics.add(words, COUNT, 1);
    while (Atomics.load(words, START) < round) Atomics.wait(words, START, round - 1, 100);
    run(function* () {
      return yield* pairs(g, 2 * n + 2, PAIRS);
    });
  }
}

function threaded(threads: number): Measure {
  const indices = makeMachine(threads);
  words[START] = 0;
  words[COUNT] = 0;
  const entry = new URL('./grants-thread.js', import.meta.url);
  indices.forEach((index, n) => new Worker(entry, { workerData: { memory, n, index } }).unref());
  let round = 0;
  const wait = (): void => {
    while (Atomics.load(words, COUNT) < threads * (round + 1))
      Atomics.wait(words, COUNT, Atomics.load(words, COUNT), 1);
  };
  return {
    ops: PAIRS * threads,
    reset: wait,
    run: () => {
      round++;
      Atomics.store(words, START, round);
      Atomics.notify(words, START);
      while (Atomics.load(words, COUNT) < threads * (round + 1));
      return 0;
    },
  };
}

export function prepare(arg: string): Measure {
  if (arg !== 'alone') return threaded(Number(arg));
  const [index] = makeMachine(1);
  const g = benchCpu(cpuAt(index as number));
  run(function* () {
    yield* g.start();
    if ((yield* findDomain(2)) === 0) throw new Error('no granter');
  });
  return {
    ops: PAIRS,
    run: () =>
      run(function* () {
        return yield* pairs(g, 2, PAIRS);
      }),
  };
}
