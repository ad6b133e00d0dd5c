/**
 * A dying domain's mappings of other domains' grants: pins and shared bits go, the handles with them.
 *
 * Invariant: of a host map no reference is dropped here: its page-table entry holds them until the tables go ([X64]), so
 * the granter may see a grant free that dead page tables still name. A device map's references go now.
 * Lock: granter's table for reading, its active entry; the dying domain runs nothing, so its maptrack is ours.
 * Source: [X64]; xen/common/grant_table.c, gnttab_release_mappings.
 */
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug } from '../../abi/errors.js';
import type { Mfn } from '../../abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly } from '../../abi/grant.js';
import { arenaFree } from '../../shm/arena.js';
import type { Cpu } from '../../sync/actor.js';
import { ld, peek, st } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { findDomain, type DomainRef } from '../domain.js';
import { globals } from '../globals.js';
import { putPage, putPageType } from '../page.js';
import { hypercallPreemptCheck } from '../preempt.js';
import { active, GNTPIN_devr_inc, GNTPIN_devw_inc, GNTPIN_hstr_inc, GNTPIN_hstw_inc, type Active } from './active.js';
import { closeEntry, reopenEntry, setClaim, tableOf } from './claim.js';
import { mapping, maptrackEntry, type Mapping } from './maptrack.js';
import { CLAIM_READONLY, outerClaim } from './scratch.js';
import { reduceClaim } from './status.js';
import { grantTable, MAPTRACK_PER_CHUNK, type GrantTable } from './table.js';

/** Walks the handles downward, a chunk between two preemption checks. 0, or -ERESTART to be called again. */
export function* gnttabReleaseMappings(cpu: Cpu, d: DomainRef): Steps<number> {
  const gt = tableOf(d);
  if (gt === 0) return 0;
  for (;;) {
    const limit = yield* ld(grantTable.maptrackLimit(gt));
    if (limit === 0) return 0;
    const first = limit - MAPTRACK_PER_CHUNK;
    for (let handle = limit - 1; handle >= first; handle--) {
      yield* releaseMapping(cpu, maptrackEntry(gt, handle));
    }
    yield* dropChunk(cpu, gt, first);
    if (first !== 0 && (yield* hypercallPreemptCheck(cpu))) return -ERESTART;
  }
}

function* dropChunk(cpu: Cpu, gt: GrantTable, first: number): Steps<void> {
  const slot = peek(grantTable.maptrackList(gt)) + Math.floor(first / MAPTRACK_PER_CHUNK);
  const chunk = yield* ld(slot);
  yield* st(grantTable.maptrackLimit(gt), first);
  yield* st(slot, 0);
  yield* arenaFree(cpu, peek(globals.arena), chunk, 1);
}

function* releaseMapping(cpu: Cpu, map: Mapping): Steps<void> {
  const flags = yield* ld(mapping.flags(map));
  if ((flags & (GNTMAP_device_map | GNTMAP_host_map)) === 0) return;
  const granter = yield* findDomain(yield* ld(mapping.domid(map)));
  if (granter !== 0) yield* releaseGrant(cpu, granter, yield* ld(mapping.ref(map)), flags);
  yield* st(mapping.flags(map), 0);
}

function* releaseGrant(cpu: Cpu, granter: DomainRef, ref: number, flags: number): Steps<void> {
  const readonly = (flags & GNTMAP_readonly) !== 0;
  const c = outerClaim(cpu);
  setClaim(c, granter, ref, 0, readonly ? CLAIM_READONLY : 0);
  const act = yield* reopenEntry(cpu, c);
  if ((flags & GNTMAP_device_map) !== 0) {
    yield* dropPin(act, readonly ? GNTPIN_devr_inc : GNTPIN_devw_inc);
    const mfn = peek(active.mfn(act)) as Mfn;
    if (!readonly) yield* putPageType(cpu, mfn);
    yield* putPage(cpu, mfn);
  }
  if ((flags & GNTMAP_host_map) !== 0) yield* dropPin(act, readonly ? GNTPIN_hstr_inc : GNTPIN_hstw_inc);
  yield* reduceClaim(c, act);
  yield* closeEntry(cpu, c, act);
}

function* dropPin(act: Active, increment: number): Steps<void> {
  const pin = peek(active.pin(act));
  if ((pin & (increment * 0xff)) === 0) throw new HypervisorBug('a live handle whose grant is not pinned');
  yield* st(active.pin(act), pin - increment);
}
