/**
 * The step invariants over the whole machine, without any memory of what changed: the oracle of the checks on what did.
 *
 * Invariant: a function of the memory alone; what needs a history (page locks per CPU, accesses, I19) is not here.
 */
import type { Mfn } from '../../abi/frames.js';
import { globals } from '../../hypervisor/globals.js';
import { FRAMES } from '../../machine/layout.js';
import { cpuAt } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { tableFault } from './entries.js';
import type { Finding } from './finding.js';
import { frameFault } from './frames.js';
import { tlbFault } from './translations.js';

/** The first thing that is wrong; undefined: nothing is. */
export function recountStep(): Finding | undefined {
  for (let m = 0; m < FRAMES; m++) {
    const wrong = frameFault(m as Mfn) ?? tableFault(m as Mfn);
    if (wrong !== undefined) return wrong;
  }
  const used = peek(globals.cpusUsed);
  for (let i = 1; i < used; i++) {
    const wrong = tlbFault(cpuAt(i));
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
