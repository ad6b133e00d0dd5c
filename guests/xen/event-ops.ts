/**
 * Event channel operations. Answers are ports or -errno.
 *
 * Lock: none; the structure is in the vCPU's own page. Source: xen/include/public/event_channel.h.
 */
import { DOMID_SELF } from '../../src/abi/frames.js';
import {
  ALLOC_UNBOUND_PORT,
  ALLOC_UNBOUND_WORDS,
  BIND_INTERDOMAIN_LOCAL,
  BIND_INTERDOMAIN_REMOTE,
  BIND_INTERDOMAIN_WORDS,
  EVTCHNOP_alloc_unbound,
  EVTCHNOP_bind_interdomain,
  EVTCHNOP_close,
  EVTCHNOP_send,
} from '../../src/abi/event-channel.js';
import { HYPERVISOR_event_channel_op } from '../../src/abi/hypercall.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import { scratchSet, structCall, structWord } from './calls.js';

/** A port of ours that `remote` may bind. */
export function* allocUnbound(c: KernelCpu, remote: number): Steps<number> {
  scratchSet(c, 0, DOMID_SELF | (remote << 16));
  scratchSet(c, 1, 0);
  const r = yield* structCall(c, HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, ALLOC_UNBOUND_WORDS);
  return r < 0 ? r : yield* structWord(c, ALLOC_UNBOUND_PORT);
}

/** A port of ours connected to `port` of `remote`. */
export function* bindInterdomain(c: KernelCpu, remote: number, port: number): Steps<number> {
  scratchSet(c, 0, remote);
  scratchSet(c, BIND_INTERDOMAIN_REMOTE, port);
  scratchSet(c, BIND_INTERDOMAIN_LOCAL, 0);
  const r = yield* structCall(c, HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, BIND_INTERDOMAIN_WORDS);
  return r < 0 ? r : yield* structWord(c, BIND_INTERDOMAIN_LOCAL);
}

/** Raises the other end's event. */
export function* sendEvent(c: KernelCpu, port: number): Steps<number> {
  scratchSet(c, 0, port);
  return yield* structCall(c, HYPERVISOR_event_channel_op, EVTCHNOP_send, 1);
}

export function* closePort(c: KernelCpu, port: number): Steps<number> {
  scratchSet(c, 0, port);
  return yield* structCall(c, HYPERVISOR_event_channel_op, EVTCHNOP_close, 1);
}
