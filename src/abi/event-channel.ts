/**
 * Event channels: commands, states, argument layouts (offsets in 32-bit words), and the shared-info page.
 *
 * Source: xen/include/public/event_channel.h, public/xen.h (struct shared_info, struct vcpu_info), 64-bit.
 */
export const EVTCHNOP_bind_interdomain = 0;
export const EVTCHNOP_bind_virq = 1;
export const EVTCHNOP_bind_pirq = 2;
export const EVTCHNOP_close = 3;
export const EVTCHNOP_send = 4;
export const EVTCHNOP_status = 5;
export const EVTCHNOP_alloc_unbound = 6;
export const EVTCHNOP_bind_ipi = 7;
export const EVTCHNOP_bind_vcpu = 8;
export const EVTCHNOP_unmask = 9;
export const EVTCHNOP_reset = 10;
export const EVTCHNOP_reset_cont = 14;

/** struct evtchn_alloc_unbound: u16 dom | u16 remote_dom, u32 port. */
export const ALLOC_UNBOUND_WORDS = 2;
export const ALLOC_UNBOUND_PORT = 1;
/** struct evtchn_bind_interdomain: u16 remote_dom, u32 remote_port, u32 local_port. */
export const BIND_INTERDOMAIN_WORDS = 3;
export const BIND_INTERDOMAIN_REMOTE = 1;
export const BIND_INTERDOMAIN_LOCAL = 2;
/** struct evtchn_bind_virq: u32 virq, u32 vcpu, u32 port. */
export const BIND_VIRQ_WORDS = 3;
export const BIND_VIRQ_VCPU = 1;
export const BIND_VIRQ_PORT = 2;
/** struct evtchn_bind_ipi: u32 vcpu, u32 port. */
export const BIND_IPI_WORDS = 2;
export const BIND_IPI_PORT = 1;
/** struct evtchn_bind_vcpu: u32 port, u32 vcpu. */
export const BIND_VCPU_WORDS = 2;
/** struct evtchn_status: u16 dom, u32 port, u32 status, u32 vcpu, then by status. */
export const EVTCHN_STATUS_WORDS = 6;
export const EVTCHN_STATUS_PORT = 1;
export const EVTCHN_STATUS_STATUS = 2;
export const EVTCHN_STATUS_VCPU = 3;
export const EVTCHN_STATUS_U = 4;
export const EVTCHNSTAT_closed = 0;
export const EVTCHNSTAT_unbound = 1;
export const EVTCHNSTAT_interdomain = 2;
export const EVTCHNSTAT_pirq = 3;
export const EVTCHNSTAT_virq = 4;
export const EVTCHNSTAT_ipi = 5;

export const VIRQ_TIMER = 0;
export const VIRQ_DEBUG = 1;
export const VIRQ_CONSOLE = 2;
export const VIRQ_DOM_EXC = 3;
export const VIRQ_XENOPROF = 7;
export const VIRQ_XENPMU = 13;
export const NR_VIRQS = 24;

/** Ports of the 2-level scheme that have a bit in the shared-info page. */
export const EVTCHN_2L_NR_CHANNELS = 4096;
/** Word offsets in the shared-info page: 32 vcpu_info of 64 bytes, then the two bit arrays of 64 64-bit words. */
export const SHARED_INFO_VCPUS = 32;
export const VCPU_INFO_WORDS = 16;
/** u64 evtchn_pending_sel: bit n says that 64-bit word n of evtchn_pending has an unmasked bit. */
export const VCPU_INFO_PENDING_SEL = 2;
export const SHARED_INFO_PENDING = 512;
export const SHARED_INFO_MASK = 640;
