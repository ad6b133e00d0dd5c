/** What does pinning (or unpinning) a whole tree cost, per L1 entry? `arg`: pages, and `pin` or `unpin`. */
import { HYPERVISOR_mmuext_op } from '../src/abi/hypercall.js';
import { MMUEXT_ARG1, MMUEXT_PIN_L4_TABLE, MMUEXT_UNPIN_TABLE } from '../src/abi/mmu.js';
import { DOMID_SELF, type Va } from '../src/abi/frames.js';
import { run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Measure } from './measure.js';
import { makeWorld, type World } from './world.js';

/** Hypercall mmuext_op with one operation, whose words lie in an argument page. */
function* mmuext(w: World, cmd: number, mfn: number): Steps<void> {
  const at = w.argument(0);
  yield* w.g.store32(at, cmd);
  yield* w.g.store((at + 4 * MMUEXT_ARG1) as Va, mfn, 0);
  w.g.argVa(0, at);
  w.g.arg(1, 1, 0);
  w.g.arg(2, 0, 0);
  w.g.arg(3, DOMID_SELF, 0);
  const rc = yield* w.g.hypercall(HYPERVISOR_mmuext_op);
  if (rc !== 0) throw new Error(`mmuext ${String(cmd)} answers ${String(rc)}`);
}

export function prepare(arg: string): Measure {
  const [count, what] = arg.split(' ');
  const w = makeWorld(Number(count));
  const pins = what === 'pin';
  let pinned = false;
  const set = (to: boolean): void => {
    if (pinned !== to) {
      run(function* () {
        yield* mmuext(w, to ? MMUEXT_PIN_L4_TABLE : MMUEXT_UNPIN_TABLE, w.other.l4);
      });
    }
    pinned = to;
  };
  return {
    ops: Number(count),
    reset: () => {
      set(!pins);
    },
    run: () => {
      set(pins);
      return 0;
    },
  };
}
