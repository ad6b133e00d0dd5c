/**
 * Random calls beside paging and grants: reservations, event channels, domctl, vCPU calls, and calls that are noise.
 *
 * Each function prepares one call; `at` is where its structures will lie in the guest's memory.
 */
import * as ctl from '../../src/abi/domctl.js';
import * as ev from '../../src/abi/event-channel.js';
import { DOMID_SELF, vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import * as nr from '../../src/abi/hypercall.js';
import * as mem from '../../src/abi/memory.js';
import { VMASST_TYPE_writable_pagetables } from '../../src/abi/mmu.js';
import { poke } from '../../src/sync/primitives.js';
import { peekVa } from '../kernel/words.js';
import { below, chance, draw, hostile, isWild, type Hostile } from './record.js';
import {
  begin,
  domid,
  frameHi,
  freshFrame,
  mfn,
  noise,
  oneOf,
  otherDomain,
  port,
  register,
  small,
  vaRegister,
  vaWords,
  wide,
  wildVa,
  word,
} from './values.js';

/** Extents lie behind the structure. */
export const EXTENTS = 32;
const MAX_EXTENTS = 4;

function reservation(h: Hostile, i: number, list: Va, n: number): void {
  vaWords(h, i, isWild(h) ? wildVa(h) : list);
  wide(h, i + mem.RESERVATION_NR, isWild(h) ? noise(h) : n, frameHi(h));
  word(h, i + mem.RESERVATION_ORDER, chance(h, 8) ? below(h, 3) : small(h, 1));
  word(h, i + mem.RESERVATION_FLAGS, 0);
  wide(h, i + mem.RESERVATION_DOMID, chance(h, 240) ? DOMID_SELF : domid(h), 0);
}

function memoryOp(h: Hostile, at: Va, command: number): void {
  begin(h, nr.HYPERVISOR_memory_op);
  register(h, 0, isWild(h) ? noise(h) : command, 0);
  vaRegister(h, 1, isWild(h) ? wildVa(h) : at);
}

export function decrease(h: Hostile, at: Va): void {
  memoryOp(h, at, mem.XENMEM_decrease_reservation);
  const n = 1 + below(h, 2);
  reservation(h, 0, (at + 4 * EXTENTS) as Va, n);
  for (let k = 0; k < n; k++) wide(h, EXTENTS + 2 * k, mfn(h, below(h, 5)), frameHi(h));
}

export function increase(h: Hostile, at: Va): void {
  memoryOp(h, at, chance(h, 160) ? mem.XENMEM_increase_reservation : oneOf(h, [2, 3, 4, 5, 6, 6, 6]));
  const n = 1 + below(h, MAX_EXTENTS);
  reservation(h, 0, (at + 4 * EXTENTS) as Va, n);
  for (let k = 0; k < n; k++) wide(h, EXTENTS + 2 * k, draw(h) & 0xfff, 0);
}

export function exchange(h: Hostile, at: Va): void {
  memoryOp(h, at, mem.XENMEM_exchange);
  const n = 1 + below(h, MAX_EXTENTS);
  reservation(h, mem.EXCHANGE_IN, (at + 4 * EXTENTS) as Va, n);
  reservation(h, mem.EXCHANGE_OUT, (at + 4 * (EXTENTS + 2 * MAX_EXTENTS)) as Va, n);
  wide(h, mem.EXCHANGE_DONE, small(h, 1), 0);
  for (let k = 0; k < 2 * MAX_EXTENTS; k++) wide(h, EXTENTS + 2 * k, freshFrame(h), frameHi(h));
}

export function events(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_event_channel_op);
  const command = chance(h, 4) ? oneOf(h, [10, 14]) : oneOf(h, [0, 0, 1, 2, 3, 4, 4, 4, 5, 6, 6, 6, 7, 8, 9]);
  register(h, 0, isWild(h) ? noise(h) : command, 0);
  vaRegister(h, 1, isWild(h) ? wildVa(h) : at);
  for (let i = 0; i < 6; i++) word(h, i, 0);
  switch (command) {
    case ev.EVTCHNOP_alloc_unbound:
      word(h, 0, (chance(h, 220) ? DOMID_SELF : domid(h)) | (otherDomain(h) << 16));
      poke(hostile.named(h), 0);
      break;
    case ev.EVTCHNOP_bind_interdomain:
      wide(h, 0, otherDomain(h), port(h));
      break;
    case ev.EVTCHNOP_bind_virq:
      wide(h, 0, small(h, ev.NR_VIRQS + 1), small(h, 3));
      break;
    case ev.EVTCHNOP_bind_ipi:
      word(h, 0, small(h, 3));
      break;
    case ev.EVTCHNOP_status:
      wide(h, 0, domid(h), port(h));
      break;
    case ev.EVTCHNOP_reset:
    case ev.EVTCHNOP_reset_cont:
      word(h, 0, domid(h));
      break;
    default:
      wide(h, 0, port(h), small(h, 3));
  }
}

const COMMANDS: readonly number[] = [
  ctl.XEN_DOMCTL_pausedomain,
  ctl.XEN_DOMCTL_unpausedomain,
  ctl.XEN_DOMCTL_unpausedomain,
  ctl.XEN_DOMCTL_getdomaininfo,
  ctl.XEN_DOMCTL_getpageframeinfo3,
  ctl.XEN_DOMCTL_max_mem,
  ctl.XEN_DOMCTL_createdomain,
];
/** Of 256 domctls, how many destroy a domain. */
const DESTROYS = 10;
/** Domains that guests create have numbers from here on. */
const CREATED = 10;

export function domctl(h: Hostile, at: Va): void {
  begin(h, nr.HYPERVISOR_domctl);
  const command = isWild(h) ? noise(h) : chance(h, DESTROYS) ? ctl.XEN_DOMCTL_destroydomain : oneOf(h, COMMANDS);
  const created = command === ctl.XEN_DOMCTL_createdomain || chance(h, 80);
  vaRegister(h, 0, isWild(h) ? wildVa(h) : at);
  word(h, ctl.DOMCTL_CMD, command);
  word(h, ctl.DOMCTL_VERSION, isWild(h) ? noise(h) : ctl.XEN_DOMCTL_INTERFACE_VERSION);
  wide(h, ctl.DOMCTL_DOMAIN, created ? CREATED + below(h, 3) : otherDomain(h), 0);
  for (let i = ctl.DOMCTL_U; i < ctl.DOMCTL_WORDS; i++) word(h, i, isWild(h) ? noise(h) : 0);
  const u = ctl.DOMCTL_U;
  if (command === ctl.XEN_DOMCTL_createdomain) {
    word(h, u + ctl.CREATE_MAX_VCPUS, small(h, 3));
    word(h, u + ctl.CREATE_MAX_GRANT_FRAMES, small(h, 3));
    word(h, u + ctl.CREATE_MAX_MAPTRACK_FRAMES, small(h, 3));
    word(h, u + ctl.CREATE_GRANT_OPTS, small(h, 4));
  } else if (command === ctl.XEN_DOMCTL_getpageframeinfo3) {
    const list = (at + 4 * (EXTENTS + 8)) as Va;
    word(h, u + ctl.FRAMEINFO_NUM, small(h, 8));
    wide(h, u + ctl.FRAMEINFO_ARRAY, vaLo(list), vaHi(list));
    for (let k = 0; k < 8; k++) wide(h, EXTENTS + 8 + 2 * k, mfn(h, 1), frameHi(h));
  } else if (command === ctl.XEN_DOMCTL_max_mem) word(h, u, below(h, 4096));
}

/** vm_assist, stack_switch; iret only where a user root may be there, or once in a while. */
export function vcpuCall(h: Hostile): void {
  const which = below(h, 32);
  if (which === 0) begin(h, nr.HYPERVISOR_iret);
  else if (which < 4) {
    begin(h, nr.HYPERVISOR_stack_switch);
    register(h, 0, noise(h), noise(h));
    vaRegister(h, 1, chance(h, 248) ? stackTop(h) : wildVa(h));
  } else {
    begin(h, nr.HYPERVISOR_vm_assist);
    register(h, 0, chance(h, 250) ? 0 : small(h, 2), 0);
    register(h, 1, chance(h, 200) ? VMASST_TYPE_writable_pagetables : small(h, 33), 0);
  }
}

/** A page of this vCPU's arguments serves as a stack. */
const stackTop = (h: Hostile): Va => (peekVa(hostile.argsVa(h)) + 8192) as Va;

/** All but the two after which a guest that does not mean them soon ends; any number may still come up. */
const NUMBERS: readonly number[] = Object.freeze(
  Object.values(nr).filter((n) => n !== nr.HYPERVISOR_iret && n !== nr.HYPERVISOR_stack_switch),
);

/** Any hypercall, registers and structures being noise; pointers rather lead somewhere. */
export function raw(h: Hostile, at: Va): void {
  begin(h, chance(h, 248) ? oneOf(h, NUMBERS) : noise(h) & 0x3fffffff);
  for (let i = 0; i < 6; i++) {
    const r = below(h, 4);
    if (r === 0) vaRegister(h, i, at);
    else if (r === 1) vaRegister(h, i, wildVa(h));
    else register(h, i, chance(h, 128) ? below(h, 16) : noise(h), chance(h, 128) ? 0 : noise(h));
  }
  for (let i = 0; i < 48; i++) word(h, i, noise(h));
}
