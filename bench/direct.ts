/**
 * The hypervisor's work without gate, arguments and copies, as reference performance.md measures it. `arg`: `update`, one
 * entry of a table in use cleared under its page lock; `grant`, a map and its unmap.
 */
import type { Mfn } from '../src/abi/frames.js';
import { mfnWord } from '../src/abi/frames.js';
import {
  GNTMAP_host_map,
  MAP_DOM,
  MAP_FLAGS,
  MAP_GRANT_WORDS,
  MAP_HANDLE,
  MAP_REF,
  UNMAP_DEV,
  UNMAP_HANDLE,
} from '../src/abi/grant.js';
import { MMU_NORMAL_PT_UPDATE } from '../src/abi/mmu.js';
import { domidOf, type DomainRef } from '../src/hypervisor/domain.js';
import { flushDomain } from '../src/hypervisor/flush.js';
import { mapGrantRef } from '../src/hypervisor/grant/map.js';
import { unmapStateAt } from '../src/hypervisor/grant/scratch.js';
import { unmapCommon, unmapCommonComplete } from '../src/hypervisor/grant/unmap.js';
import { modL1Entry } from '../src/hypervisor/l1e.js';
import { getPage, pageLock, pageUnlock, putPage } from '../src/hypervisor/page.js';
import { vcpu } from '../src/machine/cpu-record.js';
import { cpuAt, type Cpu } from '../src/sync/actor.js';
import { peek, poke, run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import { FIRST_REF, makeMachine, REFS } from './grants.js';
import { pinning } from './hypercalls.js';
import type { Measure } from './measure.js';
import { benchCpu, makeWorld, pageVa, refill, typeCounts } from './world.js';

const ENTRIES = 16384;
const PAIRS = 1024;

function* clear(cpu: Cpu, d: DomainRef, l1: Mfn, index: number): Steps<void> {
  if (!(yield* getPage(cpu, l1, domidOf(d)))) throw new Error('no page');
  if (!(yield* pageLock(cpu, l1))) throw new Error('no lock');
  const slot = mfnWord(l1) + 2 * index;
  const rc = yield* modL1Entry(cpu, slot, 0, 0, MMU_NORMAL_PT_UPDATE, d, d);
  yield* pageUnlock(cpu, l1);
  yield* putPage(cpu, l1);
  if (rc !== 0) throw new Error(`the update answers ${String(rc)}`);
}

function updates(): Measure {
  const w = makeWorld(ENTRIES);
  const pin = pinning(w);
  return {
    ops: ENTRIES,
    reset: () => {
      pin(false);
      refill(w.other, w.data);
      pin(true);
    },
    run: () =>
      run(function* () {
        for (const l1 of w.other.l1s) for (let i = 0; i < 512; i++) yield* clear(w.cpu, w.d, l1, i);
        return 0;
      }),
    check: () => typeCounts(w.data),
  };
}

function* pairs(cpu: Cpu, d: DomainRef): Steps<number> {
  const op = vcpu.copied(cpu);
  const undo = op + MAP_GRANT_WORDS;
  let sum = 0;
  for (let i = 0; i < PAIRS; i++) {
    const va = pageVa(100 + (i & 63));
    poke(op, va);
    poke(op + 1, 0);
    poke(op + MAP_FLAGS, GNTMAP_host_map);
    poke(op + MAP_REF, FIRST_REF + (i % REFS));
    poke(op + MAP_DOM, 2);
    yield* mapGrantRef(cpu, op);
    if (peek(op + MAP_DOM) >>> 16 !== 0) throw new Error('the map fails');
    const handle = peek(op + MAP_HANDLE);
    sum = (sum + handle) | 0;
    poke(undo, va);
    poke(undo + 1, 0);
    poke(undo + UNMAP_DEV, 0);
    poke(undo + UNMAP_DEV + 1, 0);
    poke(undo + UNMAP_HANDLE, handle);
    const status = yield* unmapCommon(cpu, undo, false, unmapStateAt(cpu, 0));
    if (status !== 0) throw new Error('the unmap fails');
    yield* flushDomain(cpu, d);
    yield* unmapCommonComplete(cpu, unmapStateAt(cpu, 0));
  }
  return sum;
}

function grants(): Measure {
  const [index] = makeMachine(1);
  const cpu = cpuAt(index as number);
  const g = benchCpu(cpu);
  run(function* () {
    yield* g.start();
  });
  const d = peek(vcpu.domain(cpu)) as DomainRef;
  return {
    ops: PAIRS,
    run: () =>
      run(function* () {
        return yield* pairs(cpu, d);
      }),
  };
}

export function prepare(arg: string): Measure {
  return arg === 'update' ? updates() : grants();
}
