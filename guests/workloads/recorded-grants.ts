/**
 * The grant driver as recorded programs use it: grants of the domain's own pages, mapped by itself.
 *
 * State of the task: the descriptor and the map. A grant's page stays granted; the domain ends with the recording.
 * Lock: none beyond the driver's. Source: ../linux-teardown (self-grants through gntalloc).
 */
import type { Va } from '../../src/abi/frames.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { gntdevForget, gntdevMmap, gntdevNewMap, gntdevOpen } from '../drivers/gntdev/device.js';
import { setGrant, type GrantMap } from '../drivers/gntdev/map.js';
import { grantAccess } from '../drivers/grants.js';
import { allocZeroedPage } from '../kernel/alloc.js';
import type { KernelCpu } from '../kernel/context.js';
import { closeFile, fileOf, installFile } from '../kernel/file.js';
import type { Mm } from '../kernel/mm.js';
import { kernel } from '../kernel/records.js';
import { taskWord, type Task } from '../kernel/task.js';

const FD = 1;
const MAP = 2;

/** open, and the map ioctl for `n` grants. */
export function* openGrants(c: KernelCpu, t: Task, n: number): Steps<void> {
  const f = yield* gntdevOpen(c);
  if (f === 0) return;
  poke(taskWord(t, FD), yield* installFile(t, f));
  const map = yield* gntdevNewMap(c, f, n, false);
  poke(taskWord(t, MAP), map);
  const domid = peek(kernel.domid(c.k));
  for (let i = 0; map !== 0 && i < n; i++) {
    setGrant(map, i, domid, yield* grantAccess(c, domid, yield* allocZeroedPage(c), false));
  }
}

const mapOf = (t: Task): GrantMap => peek(taskWord(t, MAP)) as GrantMap;

export function* mapGrants(c: KernelCpu, t: Task, m: Mm, at: Va): Steps<void> {
  const f = fileOf(t, peek(taskWord(t, FD)));
  if (f !== 0 && mapOf(t) !== 0) yield* gntdevMmap(c, m, f, mapOf(t), at);
}

export function* closeGrants(c: KernelCpu, t: Task): Steps<void> {
  yield* closeFile(c, t, peek(taskWord(t, FD)));
}

/** The unmap ioctl. */
export function* forgetGrants(c: KernelCpu, t: Task): Steps<void> {
  const f = fileOf(t, peek(taskWord(t, FD)));
  if (f !== 0) yield* gntdevForget(c, f, mapOf(t));
}
