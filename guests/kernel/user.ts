/**
 * What a program's own instructions do: access its memory in user mode, on the user root.
 *
 * Invariant: the vCPU is back in kernel mode afterwards, whether the access was made or the task was killed by it.
 * Lock: none; faults take theirs.
 */
import type { Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from './context.js';

/** Stores a word at `va`; false when the access was given up (the task has a signal then). */
export function* userStore(c: KernelCpu, va: Va, value: number): Steps<boolean> {
  yield* c.g.toUser();
  yield* c.g.store32(va, value);
  const ok = !c.g.faulted();
  yield* c.g.toKernel();
  return ok;
}

/** The word at `va`, -1 when the access was given up. */
export function* userLoad(c: KernelCpu, va: Va): Steps<number> {
  yield* c.g.toUser();
  const value = yield* c.g.load32(va);
  const ok = !c.g.faulted();
  yield* c.g.toKernel();
  return ok ? value : -1;
}

/** Touches `pages` pages from `va` on, one word each; answers how many until one was refused. */
export function* userTouch(c: KernelCpu, va: Va, pages: number, write: boolean): Steps<number> {
  yield* c.g.toUser();
  let done = 0;
  while (done < pages) {
    const at = (va + done * 4096) as Va;
    if (write) yield* c.g.store32(at, done + 1);
    else yield* c.g.load32(at);
    if (c.g.faulted()) break;
    done++;
    yield* c.g.poll();
  }
  yield* c.g.toKernel();
  return done;
}
