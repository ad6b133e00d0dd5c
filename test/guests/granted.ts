/** Self-grants, as the recordings made them: the domain grants pages of its own to itself and maps them by gntdev. */
import type { Va } from '../../src/abi/frames.js';
import type { Steps } from '../../src/sync/steps.js';
import { peek } from '../../src/sync/primitives.js';
import { grantAccess } from '../../guests/drivers/grants.js';
import { gntdevMmap, gntdevNewMap, gntdevOpen } from '../../guests/drivers/gntdev/device.js';
import { setGrant, type GrantMap } from '../../guests/drivers/gntdev/map.js';
import { allocZeroedPage } from '../../guests/kernel/alloc.js';
import type { KernelCpu } from '../../guests/kernel/context.js';
import { installFile, type File } from '../../guests/kernel/file.js';
import { kernel } from '../../guests/kernel/records.js';
import { touch, type Process } from './process.js';

export interface Granted {
  readonly refs: readonly number[];
  readonly file: File;
  readonly map: GrantMap;
}

/** `n` granted pages mapped at `at` in the process and touched. */
export function* mapSelfGrants(c: KernelCpu, p: Process, n: number, at: Va): Steps<Granted> {
  const domid = peek(kernel.domid(c.k));
  const file = yield* gntdevOpen(c);
  if (file === 0) throw new Error('gntdev does not open');
  yield* installFile(p.t, file);
  const map = yield* gntdevNewMap(c, file, n, false);
  if (map === 0) throw new Error('no map');
  const refs: number[] = [];
  for (let i = 0; i < n; i++) {
    const ref = yield* grantAccess(c, domid, yield* allocZeroedPage(c), false);
    refs.push(ref);
    setGrant(map, i, domid, ref);
  }
  const rc = yield* gntdevMmap(c, p.m, file, map, at);
  if (rc !== 0) throw new Error(`mmap of grants: ${String(rc)}`);
  yield* touch(c, at, n);
  return { refs, file, map };
}
