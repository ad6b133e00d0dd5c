/**
 * I1, I2, I12 and I13 of TLBs after every step.
 *
 * A TLB with a flush request pending counts as empty, for the request is served before the next access ([X13]); what is
 * under way in it meanwhile is the business of `accesses.ts`. Allowed is a translation to a freed frame until that has an
 * owner again: its next user flushes first.
 * Source: reference xen-pv-memory.md, section 6; [X6], [X13], [X54], [X62].
 */
import type { Mfn } from '../../abi/frames.js';
import { domain, DOMDYING_alive, domidOf, type DomainRef } from '../../hypervisor/domain.js';
import { vcpu } from '../../machine/cpu-record.js';
import * as f from '../../machine/frame.js';
import { TLB_SLOT_WORDS, TLB_SLOTS, tlbOf } from '../../machine/layout.js';
import { slotIsLive, slotIsWritable, slotMfn, slotOwner, slotPage } from '../../machine/tlb-slot.js';
import { actor, cpuIndex, REQ_FLUSH, REQ_KILL, type Cpu } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { frameLabel, ownerLabel, typeLabel } from '../view.js';
import { finding, type Finding } from './finding.js';
import { foreignReach } from './grants.js';

const domainOf = (cpu: Cpu): DomainRef => peek(vcpu.domain(cpu)) as DomainRef;

/** It may make another guest access. */
export function lives(cpu: Cpu): boolean {
  const d = domainOf(cpu);
  if (d === 0 || peek(vcpu.up(cpu)) === 0 || (peek(actor.request(cpu)) & REQ_KILL) !== 0) return false;
  return peek(domain.dying(d)) === DOMDYING_alive && peek(domain.shuttingDown(d)) === 0;
}

export const isPending = (cpu: Cpu): boolean => (peek(actor.request(cpu)) & REQ_FLUSH) !== 0;

/** Address of slot `i` if it is live, else 0. */
function liveSlot(cpu: Cpu, i: number): number {
  const slot = tlbOf(cpuIndex(cpu)) + i * TLB_SLOT_WORDS;
  return slotIsLive(cpu, slot) ? slot : 0;
}

/** The frame of a live slot, or -1. */
export function slotFrame(cpu: Cpu, i: number): Mfn {
  const slot = liveSlot(cpu, i);
  return slot === 0 ? (-1 as Mfn) : slotMfn(slot);
}

/** Is slot `i` a live one of that frame? Most are not of the frame. */
export function namesFrame(cpu: Cpu, i: number, mfn: Mfn): boolean {
  return slotMfn(tlbOf(cpuIndex(cpu)) + i * TLB_SLOT_WORDS) === mfn && liveSlot(cpu, i) !== 0;
}

/** A table in use, or a descriptor page: no guest may write to it. */
export function isProtected(mfn: Mfn): boolean {
  if ((peek(f.countInfo(mfn)) & f.PGC_state) === f.PGC_state_free) return false;
  const t = peek(f.typeInfo(mfn));
  const level = f.typeLevel(t);
  return (t & f.PGT_validated) !== 0 && level >= 1 && level <= 5 && (t & f.PGT_count_mask) !== 0;
}

/** What is wrong with slot `i` of a TLB that counts; `fresh`: it was filled just now. */
export function slotFault(cpu: Cpu, i: number, fresh: boolean): Finding | undefined {
  const slot = liveSlot(cpu, i);
  if (slot === 0) return undefined;
  const mfn = slotMfn(slot);
  const writable = slotIsWritable(slot);
  const now = peek(f.ownerWord(mfn));
  const c = peek(f.countInfo(mfn));
  if (slotOwner(slot) !== now && (c & f.PGC_count_mask) !== 0 && (c & f.PGC_state) !== f.PGC_state_free) {
    return about(cpu, slot, 'I13', `the frame is another one since, of ${ownerLabel(f.ownerOf(now))}`);
  }
  if (writable && isProtected(mfn)) {
    const what = `writable, the frame is ${typeLabel(f.typeLevel(peek(f.typeInfo(mfn))))}`;
    return fresh ? about(cpu, slot, 'I1', `is made ${what}`) : about(cpu, slot, 'I2', `is ${what}`);
  }
  const unseen = foreignReach(domainOf(cpu), mfn, writable);
  return unseen === '' ? undefined : about(cpu, slot, 'I12', unseen);
}

function about(cpu: Cpu, slot: number, rule: string, text: string): Finding {
  const va = slotPage(slot).toString(16);
  const mfn = slotMfn(slot);
  const at = `${vcpuLabel(cpu)} TLB va 0x${va} -> ${frameLabel(mfn)}`;
  return finding(rule, `${at}: ${text}`, [at]);
}

export const vcpuLabel = (cpu: Cpu): string =>
  domainOf(cpu) === 0 ? 'control plane' : `d${String(domidOf(domainOf(cpu)))}v${String(peek(vcpu.id(cpu)))}`;

/** Every slot of one TLB. */
export function tlbFault(cpu: Cpu): Finding | undefined {
  if (isPending(cpu) || !lives(cpu)) return undefined;
  for (let i = 0; i < TLB_SLOTS; i++) {
    const wrong = slotFault(cpu, i, false);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
