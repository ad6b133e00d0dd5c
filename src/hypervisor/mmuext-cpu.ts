/**
 * mmuext operations on processors: TLB and cache flushes, the descriptor table's base. For the caller's domain only.
 *
 * Lock: none.
 * Source: do_mmuext_op, xen/arch/x86/mm.c; [X31], [X33].
 * Differs: no caches and no descriptors behind FLUSH_CACHE and SET_LDT; their checks and answers are Xen's.
 */
import { EACCES, EINVAL } from '../abi/errno.js';
import { canonicalVa } from '../abi/frames.js';
import * as op from '../abi/mmu.js';
import { vcpu } from '../machine/cpu-record.js';
import { flushMask } from '../machine/flush.js';
import { tlbFlushLocal } from '../machine/tlb.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke } from '../sync/primitives.js';
import type { Steps } from '../sync/steps.js';
import { addrOk } from './copy.js';
import { domain, type DomainRef } from './domain.js';
import { dirtyHi, dirtyLo, flushDomain } from './flush.js';
import { CPUS_HI, CPUS_LO, flushOn, invlpg, readVcpuMask } from './update-va.js';

const MAX_LDT_ENTRIES = 8192;

/** `lo`, `hi` are arg1; arg2 is read from the copied operation. 0 or -errno. */
export function* ownOp(cpu: Cpu, d: DomainRef, cmd: number, lo: number, hi: number): Steps<number> {
  switch (cmd) {
    case op.MMUEXT_TLB_FLUSH_LOCAL:
      yield* tlbFlushLocal(cpu);
      return 0;
    case op.MMUEXT_INVLPG_LOCAL:
      invlpg(cpu, lo, hi);
      return 0;
    case op.MMUEXT_TLB_FLUSH_MULTI:
    case op.MMUEXT_INVLPG_MULTI:
      return yield* flushMulti(cpu, d, cmd === op.MMUEXT_INVLPG_MULTI, lo, hi);
    case op.MMUEXT_TLB_FLUSH_ALL:
      yield* flushDomain(cpu, d);
      return 0;
    case op.MMUEXT_INVLPG_ALL:
      if (addrOk(canonicalVa(lo, hi))) yield* flushOn(cpu, dirtyLo(d), dirtyHi(d), true, lo, hi);
      return 0;
    case op.MMUEXT_FLUSH_CACHE:
      return peek(domain.devices(d)) !== 0 ? 0 : -EACCES;
    case op.MMUEXT_FLUSH_CACHE_GLOBAL:
      return peek(domain.devices(d)) !== 0 ? 0 : -EINVAL;
    default:
      return setLdt(cpu, lo, hi);
  }
}

function* flushMulti(cpu: Cpu, d: DomainRef, page: boolean, lo: number, hi: number): Steps<number> {
  const a = vcpu.copied(cpu) + op.MMUEXT_ARG2;
  if (!(yield* readVcpuMask(cpu, d, peek(a), peek(a + 1)))) return -EINVAL;
  const cpusLo = peek(vcpu.copied(cpu) + CPUS_LO);
  const cpusHi = peek(vcpu.copied(cpu) + CPUS_HI);
  if (!page) yield* flushMask(cpu, cpusLo, cpusHi);
  else if (addrOk(canonicalVa(lo, hi))) yield* flushOn(cpu, cpusLo, cpusHi, true, lo, hi);
  return 0;
}

function setLdt(cpu: Cpu, lo: number, hi: number): number {
  const entries = peek(vcpu.copied(cpu) + op.MMUEXT_ARG2) >>> 0;
  if (entries > MAX_LDT_ENTRIES) return -EINVAL;
  if (entries !== 0 && ((lo & 0xfff) !== 0 || !addrOk(canonicalVa(lo, hi)))) return -EINVAL;
  poke(vcpu.ldtBaseLo(cpu), entries === 0 ? 0 : lo);
  poke(vcpu.ldtBaseHi(cpu), entries === 0 ? 0 : hi);
  poke(vcpu.ldtEntries(cpu), entries);
  return 0;
}
