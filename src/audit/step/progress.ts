/**
 * I19: every continuation gets on: what is left of a hypercall never grows, and the parts of one call are bounded.
 *
 * Looked at when the gate looks at the request word, between two parts of a call.
 * Source: reference xen-pv-memory.md, section 6; [X16], [X28].
 */
import {
  HYPERVISOR_grant_table_op,
  HYPERVISOR_memory_op,
  HYPERVISOR_mmu_update,
  HYPERVISOR_mmuext_op,
} from '../../abi/hypercall.js';
import { MMU_UPDATE_PREEMPTED } from '../../abi/mmu.js';
import { vcpu } from '../../machine/cpu-record.js';
import { actor, cpuIndex, MAX_CPUS, type Cpu } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { finding, type Finding } from './finding.js';
import { vcpuLabel } from './translations.js';

/** Parts of one hypercall beyond which it is said not to end. */
export const MOST_PARTS = 10_000;
const MEMOP_EXTENT_SHIFT = 6;

export interface Progress {
  reset(): void;
  /** After a look at an actor's own request word. */
  looked(cpu: Cpu): Finding | undefined;
}

/** What is left to do, in units of the call; the number of done extents of a memory_op as a negative number. */
function left(cpu: Cpu, nr: number): number {
  switch (nr) {
    case HYPERVISOR_mmu_update:
    case HYPERVISOR_mmuext_op:
      return peek(vcpu.argLo(cpu, 1)) & ~MMU_UPDATE_PREEMPTED;
    case HYPERVISOR_grant_table_op:
      return peek(vcpu.argLo(cpu, 2));
    case HYPERVISOR_memory_op:
      return -(peek(vcpu.argLo(cpu, 0)) >>> MEMOP_EXTENT_SHIFT);
    default:
      return 0;
  }
}

export function makeProgress(): Progress {
  const calls = new Int32Array(MAX_CPUS);
  const parts = new Int32Array(MAX_CPUS);
  const first = new Int32Array(MAX_CPUS);
  const was = new Int32Array(MAX_CPUS);
  return {
    reset: () => {
      for (let i = 0; i < MAX_CPUS; i++) calls[i] = -1;
    },
    looked: (cpu) => {
      const i = cpuIndex(cpu);
      const now = peek(vcpu.nContinuations(cpu));
      if (now === parts[i] || peek(actor.doing(cpu)) === 0) return undefined;
      parts[i] = now;
      const call = peek(vcpu.nHypercalls(cpu));
      const nr = peek(actor.doing(cpu)) - 1;
      const remains = left(cpu, nr);
      const same = calls[i] === call;
      const before = was[i] as number;
      was[i] = remains;
      if (!same) {
        calls[i] = call;
        first[i] = now;
        return undefined;
      }
      const who = `${vcpuLabel(cpu)} hypercall ${String(nr)}`;
      if (remains > before) return finding('I19', `${who} has more left after a continuation than before`, [who]);
      if (now - (first[i] as number) < MOST_PARTS) return undefined;
      return finding('I19', `${who} was continued ${String(MOST_PARTS)} times`, [who]);
    },
  };
}
