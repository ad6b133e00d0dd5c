/**
 * What a hostile vCPU learns from a call's answers: handles, frames, ports; and whether the call had an effect.
 *
 * Structures are read back through the MMU as they now are: a sibling may have changed them meanwhile.
 */
import type { Va } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import * as ev from '../../src/abi/event-channel.js';
import * as mem from '../../src/abi/memory.js';
import {
  HYPERVISOR_grant_table_op,
  HYPERVISOR_event_channel_op,
  HYPERVISOR_memory_op,
} from '../../src/abi/hypercall.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu } from '../../src/vcpu/guest-cpu.js';
import { EXTENTS } from './other-calls.js';
import { poke } from '../../src/sync/primitives.js';
import { LIST_BYTES } from './grant-calls.js';
import { below, hostile, learnForeign, learnFrame, learnHandle, learnPort, type Hostile } from './record.js';
import { tallyGrantStatus } from './tally.js';

/** Frame numbers of a machine fit 20 bits. */
const isFrame = (v: number): boolean => v > 0 && v < 1 << 20;

/** After call `op` with first register `command`, structures at `at`, result `rc`: did it do anything? */
export function* learn(g: GuestCpu, h: Hostile, op: number, command: number, at: Va, rc: number): Steps<boolean> {
  if (rc < 0) return false;
  if (op === HYPERVISOR_grant_table_op) return yield* learnGrants(g, h, command, at);
  if (op === HYPERVISOR_memory_op)
    return rc > 0 || command === mem.XENMEM_exchange ? yield* learnMemory(g, h, command, at, rc) : false;
  if (op === HYPERVISOR_event_channel_op) yield* learnEvents(g, h, command, at);
  return true;
}

function* learnGrants(g: GuestCpu, h: Hostile, command: number, at: Va): Steps<boolean> {
  switch (command) {
    case gnt.GNTTABOP_map_grant_ref:
      return yield* learnMap(g, h, at);
    case gnt.GNTTABOP_unmap_grant_ref:
    case gnt.GNTTABOP_unmap_and_replace:
      return (yield* statusAt(g, h, at, gnt.UNMAP_STATUS)) === 0;
    case gnt.GNTTABOP_copy:
      return (yield* statusAt(g, h, at, gnt.COPY_STATUS)) === 0;
    case gnt.GNTTABOP_transfer:
      return (yield* statusAt(g, h, at, gnt.TRANSFER_STATUS)) === 0;
    case gnt.GNTTABOP_setup_table:
    case gnt.GNTTABOP_get_status_frames:
      yield* learnFrames(g, h, (at + LIST_BYTES) as Va);
      return true;
    case gnt.GNTTABOP_set_version:
    case gnt.GNTTABOP_get_version:
      yield* learnVersion(g, h, command, at);
      return true;
    default:
      return true;
  }
}

/** Frames of grant tables are worth being mapped. */
function* learnFrames(g: GuestCpu, h: Hostile, list: Va): Steps<void> {
  for (let k = 0; k < 2; k++) {
    const mfn = yield* g.load32((list + 8 * k) as Va);
    if (isFrame(mfn)) learnForeign(h, mfn);
  }
}

function* learnVersion(g: GuestCpu, h: Hostile, command: number, at: Va): Steps<void> {
  const set = command === gnt.GNTTABOP_set_version;
  const version = yield* g.load32((at + (set ? 0 : 4 * gnt.GET_VERSION_RESULT)) as Va);
  if (version === 1 || version === 2) poke(hostile.grantVersion(h), version);
}

function* statusAt(g: GuestCpu, h: Hostile, at: Va, i: number): Steps<number> {
  const status = ((yield* g.load32((at + 4 * i) as Va)) << 16) >> 16;
  tallyGrantStatus(h, status);
  return status;
}

/** The first three operations of a batch of maps. */
function* learnMap(g: GuestCpu, h: Hostile, at: Va): Steps<boolean> {
  let any = false;
  for (let k = 0; k < 3; k++) {
    const op = at + 4 * k * gnt.MAP_GRANT_WORDS;
    const status = (yield* g.load32((op + 4 * gnt.MAP_DOM) as Va)) >> 16;
    const handle = yield* g.load32((op + 4 * gnt.MAP_HANDLE) as Va);
    if (k === 0) tallyGrantStatus(h, status);
    if (status !== gnt.GNTST_okay || handle === -1) continue;
    const lo = yield* g.load32(op as Va);
    const hi = yield* g.load32((op + 4) as Va);
    learnHandle(h, handle, yield* g.load32((op + 4 * gnt.MAP_FLAGS) as Va), lo, hi);
    any = true;
  }
  return any;
}

/** Frames that a reservation or an exchange answered. */
function* learnMemory(g: GuestCpu, h: Hostile, command: number, at: Va, rc: number): Steps<boolean> {
  if (command === mem.XENMEM_exchange) {
    const done = yield* g.load32((at + 4 * mem.EXCHANGE_DONE) as Va);
    const mfn = yield* g.load32((at + 4 * (EXTENTS + 8)) as Va);
    if (done > 0 && isFrame(mfn)) learnFrame(h, mfn, below(h, 5));
    return done > 0;
  }
  if (command !== mem.XENMEM_increase_reservation && command !== mem.XENMEM_populate_physmap) return true;
  for (let k = 0; k < Math.min(rc, 4); k++) {
    const mfn = yield* g.load32((at + 4 * (EXTENTS + 2 * k)) as Va);
    if (isFrame(mfn)) learnFrame(h, mfn, below(h, 5));
  }
  return true;
}

function* learnEvents(g: GuestCpu, h: Hostile, command: number, at: Va): Steps<void> {
  const places: Readonly<Record<number, number>> = {
    [ev.EVTCHNOP_alloc_unbound]: ev.ALLOC_UNBOUND_PORT,
    [ev.EVTCHNOP_bind_interdomain]: ev.BIND_INTERDOMAIN_LOCAL,
    [ev.EVTCHNOP_bind_virq]: ev.BIND_VIRQ_PORT,
    [ev.EVTCHNOP_bind_ipi]: ev.BIND_IPI_PORT,
  };
  const place = places[command];
  if (place === undefined) return;
  const port = yield* g.load32((at + 4 * place) as Va);
  if (port > 0 && port < 4096) learnPort(h, port);
}
