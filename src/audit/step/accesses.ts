/**
 * The first access through a dead translation.
 *
 * A flush that is asked for is served before the next access, but one may be under way: translated, not made yet. When a
 * frame becomes what its translations must not reach (a table, another's, free, not granted any more) while a TLB with a
 * request pending still has it, the pair is noted; an access that then arrives through it is the finding. Whoever asked for
 * the flush has to wait for such an access, so a right hypervisor never gets there.
 * Source: DESIGN decision 5; [X6], [X13], [X54]; src/machine/flush.ts.
 */
import type { Mfn } from '../../abi/frames.js';
import { DOMID_FIRST_RESERVED } from '../../abi/frames.js';
import { globals } from '../../hypervisor/globals.js';
import * as f from '../../machine/frame.js';
import { FRAMES, TLB_SLOTS } from '../../machine/layout.js';
import { cpuAt, cpuIndex, MAX_CPUS, type Cpu } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { frameLabel, ownerLabel, typeLabel } from '../view.js';
import { finding, type Finding } from './finding.js';
import { isPending, isProtected, lives, namesFrame, slotFault, slotFrame, vcpuLabel } from './translations.js';

export interface Accesses {
  reset(): void;
  /** The frame changed: looks at every TLB. The first fault of one that counts; those of one that must flush are noted. */
  changed(mfn: Mfn): Finding | undefined;
  /** Slot `i` may have been filled just now. */
  filled(cpu: Cpu, i: number): Finding | undefined;
  /** A guest access arrived at `mfn`. */
  arrived(cpu: Cpu, mfn: Mfn, writes: boolean): Finding | undefined;
}

export function makeAccesses(): Accesses {
  /** By actor and frame: 1 when a translation that must die was still there. */
  const dead = new Uint8Array(MAX_CPUS * FRAMES);
  let noted: number[] = [];
  const key = (cpu: Cpu, mfn: Mfn): number => cpuIndex(cpu) * FRAMES + mfn;
  return {
    reset: () => {
      for (const k of noted) dead[k] = 0;
      noted = [];
    },
    changed: (mfn) => {
      const used = peek(globals.cpusUsed);
      for (let n = 1; n < used; n++) {
        const cpu = cpuAt(n);
        if (!lives(cpu)) continue;
        const pending = isPending(cpu);
        for (let i = 0; i < TLB_SLOTS; i++) {
          if (!namesFrame(cpu, i, mfn)) continue;
          const wrong = slotFault(cpu, i, false);
          if (wrong === undefined) continue;
          if (!pending) return wrong;
          dead[key(cpu, mfn)] = 1;
          noted.push(key(cpu, mfn));
        }
      }
      return undefined;
    },
    filled: (cpu, i) => {
      const mfn = slotFrame(cpu, i);
      if (mfn < 0 || !lives(cpu)) return undefined;
      dead[key(cpu, mfn)] = 0;
      return isPending(cpu) ? undefined : slotFault(cpu, i, true);
    },
    arrived: (cpu, mfn, writes) => {
      const c = peek(f.countInfo(mfn));
      const free = (c & f.PGC_state) === f.PGC_state_free;
      const wrongWrite = writes && isProtected(mfn);
      if (!free && !wrongWrite && dead[key(cpu, mfn)] === 0) return undefined;
      if (!lives(cpu)) return undefined;
      const at = `${vcpuLabel(cpu)} ${writes ? 'writes' : 'reads'} ${frameLabel(mfn)}`;
      const owner = f.ownerOf(peek(f.ownerWord(mfn)));
      const what = wrongWrite
        ? `a ${typeLabel(f.typeLevel(peek(f.typeInfo(mfn))))} table`
        : free
          ? 'which is free'
          : `now of ${owner < DOMID_FIRST_RESERVED ? ownerLabel(owner) : 'nobody'}`;
      return finding('dead-access', `${at}, ${what}, through a translation that is dead`, [at]);
    },
  };
}
