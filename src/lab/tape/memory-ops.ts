/**
 * Operations of a tape on memory and life: memory_op and domctl.
 *
 * Source: tapes FORMAT.md (operations); xen/include/public/memory.h, domctl.h.
 */
import * as domctl from '../../abi/domctl.js';
import { ERESTART } from '../../abi/errno.js';
import { DOMID_SELF } from '../../abi/frames.js';
import { HYPERVISOR_domctl, HYPERVISOR_memory_op } from '../../abi/hypercall.js';
import * as mem from '../../abi/memory.js';
import type { Steps } from '../../sync/steps.js';
import type { Answer } from './compare.js';
import type { TapeGuest } from './guest.js';
import type { OpOf } from './schema.js';
import { domidOf } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';
import { fromInteger, type Word64 } from './value.js';

/** Where lists of extents are put. */
const INPUT = 128;
const OUTPUT = 256;

type ReservationOp = OpOf<'decrease'> | OpOf<'populate'> | OpOf<'increase'>;

/** Fills a reservation at word `base` whose extents lie at word `list`. */
function* putReservation(
  by: TapeGuest,
  base: number,
  list: number,
  values: Word64[],
  dom: string | undefined,
): Steps<void> {
  for (const [k, v] of values.entries()) yield* by.put64(list + 2 * k, v);
  yield* by.clear(base, mem.RESERVATION_WORDS);
  yield* by.put64(base + mem.RESERVATION_EXTENTS, by.pointer(list));
  yield* by.put64(base + mem.RESERVATION_NR, fromInteger(values.length));
  yield* by.put(base + mem.RESERVATION_DOMID, dom === undefined ? DOMID_SELF : domidOf(dom));
}

/** Gives the names that got a frame their frames. */
function* defineNew(m: TapeMachine, by: TapeGuest, list: number, names: readonly string[], done: number): Steps<void> {
  for (const [k, name] of names.slice(0, Math.max(done, 0)).entries())
    m.symbols.define(name, yield* by.get(list + 2 * k));
}

export function* doReservation(m: TapeMachine, by: TapeGuest, op: ReservationOp): Steps<Answer> {
  if (op.op === 'decrease') {
    yield* putReservation(
      by,
      0,
      INPUT,
      op.f.map((f) => m.symbols.mfnWord(f)),
      op.dom,
    );
    return { rc: yield* by.call(HYPERVISOR_memory_op, mem.XENMEM_decrease_reservation, by.pointer(0)) };
  }
  const populate = op.op === 'populate';
  const values = op.out.map((f) => fromInteger(populate ? m.pfnOf(f) : 0));
  yield* putReservation(by, 0, OUTPUT, values, op.dom);
  const command = populate ? mem.XENMEM_populate_physmap : mem.XENMEM_increase_reservation;
  const rc = yield* by.call(HYPERVISOR_memory_op, command, by.pointer(0));
  yield* defineNew(m, by, OUTPUT, op.out, rc);
  return { rc };
}

export function* doExchange(m: TapeMachine, by: TapeGuest, op: OpOf<'exchange'>): Steps<Answer> {
  const given = op.in.map((f) => m.symbols.mfnWord(f));
  const wanted = op.out.map((f) => fromInteger(m.pfnOf(f)));
  yield* putReservation(by, mem.EXCHANGE_IN, INPUT, given, op.dom);
  yield* putReservation(by, mem.EXCHANGE_OUT, OUTPUT, wanted, op.dom);
  yield* by.clear(mem.EXCHANGE_DONE, 2);
  const rc = yield* by.call(HYPERVISOR_memory_op, mem.XENMEM_exchange, by.pointer(0));
  const done = yield* by.get(mem.EXCHANGE_DONE);
  yield* defineNew(m, by, OUTPUT, op.out, done);
  return { rc, done };
}

/** Words of a domctl that its commands here read. */
const DOMCTL_INPUT = domctl.DOMCTL_U + 4;

/** Fills the head of a domctl. */
export function* putDomctl(by: TapeGuest, cmd: number, domid: number): Steps<void> {
  yield* by.put(domctl.DOMCTL_CMD, cmd);
  yield* by.put(domctl.DOMCTL_VERSION, domctl.XEN_DOMCTL_INTERFACE_VERSION);
  yield* by.put(domctl.DOMCTL_DOMAIN, domid);
  yield* by.clear(domctl.DOMCTL_DOMAIN + 1, DOMCTL_INPUT - domctl.DOMCTL_DOMAIN - 1);
}

export function* doDestroy(by: TapeGuest, op: OpOf<'destroy'>): Steps<Answer> {
  for (;;) {
    yield* putDomctl(by, domctl.XEN_DOMCTL_destroydomain, domidOf(op.dom));
    const rc = yield* by.call(HYPERVISOR_domctl, by.pointer(0));
    if (rc !== -ERESTART) return { rc };
  }
}

export function* doPause(by: TapeGuest, op: OpOf<'pause'>): Steps<Answer> {
  const cmd = op.on === 0 ? domctl.XEN_DOMCTL_unpausedomain : domctl.XEN_DOMCTL_pausedomain;
  yield* putDomctl(by, cmd, domidOf(op.dom));
  return { rc: yield* by.call(HYPERVISOR_domctl, by.pointer(0)) };
}
