/** What vCPUs do in the tests of grants with real threads; imports the sources only, arguments are numbers. */
import { makeVa, mfnWord, PAGE_SIZE, vaHi, vaLo, type Mfn, type Va } from '../../../src/abi/frames.js';
import * as gnt from '../../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op } from '../../../src/abi/hypercall.js';
import { xorshift } from '../../../src/explore/random-walk.js';
import { add, ldOnce, peek, poke, waitChange, wake } from '../../../src/sync/primitives.js';
import { cpuAt } from '../../../src/sync/actor.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { GuestHandlers, Vcpu } from '../../../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../../../src/vcpu/vcpu.js';

const handlers: GuestHandlers = {
  *pageFault(): Steps<boolean> {
    return yield* givenUp();
  },
  *generalProtection(): Steps<void> {
    yield* givenUp();
  },
  *event(): Steps<void> {
    yield* givenUp();
  },
  *ipi(): Steps<void> {
    yield* givenUp();
  },
};
function* givenUp(): Steps<false> {
  return false;
}

function putVa(a: number, va: Va): void {
  poke(a, vaLo(va));
  poke(a + 1, vaHi(va));
}

function* call(g: Vcpu, cmd: number, args: Va, n: number): Steps<void> {
  g.arg(0, cmd, 0);
  g.argVa(1, args);
  g.arg(2, n, 0);
  const rc = yield* g.hypercall(HYPERVISOR_grant_table_op);
  if (rc !== 0) throw new Error(`grant operation ${String(cmd)} answered ${String(rc)}`);
}

/** Operations of a batch, and slots of a vCPU. */
const BATCH = 16;

/**
 * Maps and unmaps batches of random grants of domain `granter`, refs 8 to 15, in vCPU `v`'s own slots; every odd round
 * stores through what it mapped. Answers how many maps succeeded.
 */
export function* mapAndUnmap(
  index: number,
  argsMfn: number,
  v: number,
  granter: number,
  rounds: number,
  gate: number,
  n: number,
): Steps<number> {
  const g = makeGuestCpu(cpuAt(index), handlers);
  const random = xorshift(index);
  const args = mfnWord(argsMfn as Mfn);
  const argsVa = makeVa(300, 0, 0, v);
  const slot = (i: number): Va => makeVa(300, 0, 1, v * BATCH + i);
  yield* add(gate, 1);
  wake(gate);
  for (let here = yield* ldOnce(gate); here < n; here = yield* ldOnce(gate))
    yield* waitChange(cpuAt(index), gate, here);
  yield* g.start();
  let mapped = 0;
  for (let r = 0; r < rounds; r++) {
    const writes = random() % 2 === 0;
    for (let i = 0; i < BATCH; i++) {
      const at = args + i * gnt.MAP_GRANT_WORDS;
      putVa(at, slot(i));
      poke(at + gnt.MAP_FLAGS, gnt.GNTMAP_host_map | (writes ? 0 : gnt.GNTMAP_readonly));
      poke(at + gnt.MAP_REF, 8 + (random() % 8));
      poke(at + gnt.MAP_DOM, granter);
    }
    yield* call(g, gnt.GNTTABOP_map_grant_ref, argsVa, BATCH);
    const handles = Array.from({ length: BATCH }, (_, i) => {
      const at = args + i * gnt.MAP_GRANT_WORDS;
      return peek(at + gnt.MAP_DOM) >> 16 === gnt.GNTST_okay ? peek(at + gnt.MAP_HANDLE) : -1;
    });
    const live = handles.filter((h) => h >= 0).length;
    mapped += live;
    for (let i = 0; writes && i < BATCH; i++) {
      if (handles[i] !== -1) yield* g.store32((slot(i) + 4 * (random() % (PAGE_SIZE / 4))) as Va, r);
    }
    if (g.faulted()) throw new Error('a mapped grant faulted');
    handles.forEach((handle, i) => {
      const at = args + i * gnt.UNMAP_GRANT_WORDS;
      putVa(at, slot(i));
      poke(at + gnt.UNMAP_DEV, 0);
      poke(at + gnt.UNMAP_DEV + 1, 0);
      poke(at + gnt.UNMAP_HANDLE, handle);
    });
    yield* call(g, gnt.GNTTABOP_unmap_grant_ref, argsVa, BATCH);
    handles.forEach((handle, i) => {
      const status = (peek(args + i * gnt.UNMAP_GRANT_WORDS + gnt.UNMAP_STATUS) << 16) >> 16;
      if (status !== (handle < 0 ? gnt.GNTST_bad_handle : gnt.GNTST_okay)) {
        throw new Error(`unmap of ${String(handle)} answered ${String(status)}`);
      }
    });
  }
  yield* g.park();
  return mapped;
}
