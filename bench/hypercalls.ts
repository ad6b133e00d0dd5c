/** Hypercalls of the benches, their arguments written into guest memory like a guest's. */
import { DOMID_SELF, type Va } from '../src/abi/frames.js';
import { HYPERVISOR_mmu_update, HYPERVISOR_mmuext_op } from '../src/abi/hypercall.js';
import { MMUEXT_ARG1, MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE } from '../src/abi/mmu.js';
import { run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { World } from './world.js';

function check(name: string, rc: number): void {
  if (rc !== 0) throw new Error(`${name} answers ${String(rc)}`);
}

/** mmuext_op with one operation on a frame. */
export function* mmuext(w: World, cmd: number, mfn: number): Steps<void> {
  const at = w.argument(0);
  yield* w.g.store32(at, cmd);
  yield* w.g.store((at + 4 * MMUEXT_ARG1) as Va, mfn, 0);
  w.g.argVa(0, at);
  w.g.arg(1, 1, 0);
  w.g.arg(2, 0, 0);
  w.g.arg(3, DOMID_SELF, 0);
  check('mmuext_op', yield* w.g.hypercall(HYPERVISOR_mmuext_op));
}

/** Pins and unpins the tree that is in nobody's use, where it is not so already; it begins unpinned. */
export function pinning(w: World): (to: boolean) => void {
  let pinned = false;
  return (to) => {
    if (pinned !== to) {
      run(function* () {
        yield* mmuext(w, to ? MMUEXT_PIN_L4_TABLE : MMUEXT_UNPIN_TABLE, w.other.l4);
      });
    }
    pinned = to;
  };
}

/** mmu_update that clears `count` entries of the table `mfn` from `index` on. */
export function* clearEntries(w: World, mfn: number, index: number, count: number): Steps<void> {
  const at = w.argument(0);
  for (let i = 0; i < count; i++) {
    yield* w.g.store((at + 16 * i) as Va, (mfn << 12) | (8 * (index + i)), 0);
    yield* w.g.store((at + 16 * i + 8) as Va, 0, 0);
  }
  w.g.argVa(0, at);
  w.g.arg(1, count, 0);
  w.g.arg(2, 0, 0);
  w.g.arg(3, DOMID_SELF, 0);
  check('mmu_update', yield* w.g.hypercall(HYPERVISOR_mmu_update));
}
