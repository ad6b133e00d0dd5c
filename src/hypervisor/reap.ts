/**
 * Gives back what a vanished domain still occupies: its record, its grant table, its vCPUs' slots.
 *
 * Invariant: nobody holds an address of a reaped record: each actor was seen outside the hypervisor after the domain could
 * no longer be found, and its vCPUs are off.
 * Lock: domctlLock, tried only; what cannot be reaped now is left for the next gate exit.
 * Source: complete_domain_destroy (called by RCU), xen/common/domain.c.
 */
import { vcpu } from '../machine/cpu-record.js';
import { actor, cpuAt, MODE_OFF, type Cpu } from '../sync/actor.js';
import { RANK } from '../sync/lock-order.js';
import { add, ldOnce, peek, poke, tryLock, unlock } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { domain, domainSlot, domainSlots, vcpuCountOf, vcpuOf, type DomainRef } from './domain.js';
import { DOMAIN_WORDS, globals } from './globals.js';
import { evtchnFree } from './event-port.js';
import { grantTableDestroy } from './grant/grow.js';

/** Reaps what can be reaped. The caller holds no address of any domain's record but its own. */
export function* reapDomains(cpu: Cpu): Steps<void> {
  if (!(yield* tryLock(cpu, globals.domctlLock, RANK.domctl))) return;
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    const gone = yield* ldOnce(domain.reap(d)); // raced on purpose: the last reference's holder sets it
    if (gone !== 0 && (yield* allLeft(cpu, d))) yield* reap(cpu, d);
  }
  yield* unlock(cpu, globals.domctlLock);
}

/** Has every other actor been outside since, and is every vCPU of the domain off? */
function* allLeft(cpu: Cpu, d: DomainRef): Steps<boolean> {
  const used = peek(globals.cpusUsed);
  let inside = false;
  for (let i = 0; i < used; i++) {
    const word = domain.reapMask(d) + (i >> 5);
    const bit = 1 << (i & 31);
    if ((peek(word) & bit) === 0) continue;
    const other = cpuAt(i);
    const busy = other !== cpu && (yield* ldOnce(actor.doing(other))) !== 0; // raced on purpose: seen outside once is enough
    if (busy) inside = true;
    else poke(word, peek(word) & ~bit);
  }
  for (let i = 0; i < vcpuCountOf(d); i++) {
    const mode = yield* ldOnce(actor.mode(vcpuOf(d, i))); // raced on purpose: off is for good
    if (mode !== MODE_OFF) inside = true;
  }
  return !inside;
}

function* reap(cpu: Cpu, d: DomainRef): Steps<void> {
  yield* grantTableDestroy(cpu, d);
  yield* evtchnFree(cpu, d);
  for (let i = 0; i < vcpuCountOf(d); i++) {
    poke(vcpu.up(vcpuOf(d, i)), 0);
    poke(vcpu.domain(vcpuOf(d, i)), 0);
  }
  for (let i = 0; i < DOMAIN_WORDS; i++) poke(d + i, 0);
  yield* add(globals.reapable, -1);
}
