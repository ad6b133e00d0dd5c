/**
 * I2 and I13: what the TLBs of all vCPUs still translate to.
 *
 * A TLB with a flush request pending counts as empty: the request is served before the next access ([X13]).
 * Source: reference xen-pv-memory.md, section 6; DESIGN decision 5.
 */
import { vcpu } from '../machine/cpu-record.js';
import { tlbEntries } from '../machine/tlb.js';
import { actor, REQ_FLUSH } from '../sync/actor.js';
import { peek } from '../sync/primitives.js';
import { eachFrame, allProcessors, frameLabel, frameOf, isLiveTable, presentEntries, typeLabel } from './view.js';
import { broken, type Violation } from './violation.js';

/** Writable translations to tables (I2) and any translation to a free frame (I13). */
export function checkTranslations(): Violation[] {
  const out: Violation[] = [];
  for (const p of allProcessors()) {
    if (peek(vcpu.up(p.cpu)) === 0 || (peek(actor.request(p.cpu)) & REQ_FLUSH) !== 0) continue;
    for (const t of tlbEntries(p.cpu)) {
      const f = frameOf(t.mfn);
      const at = `${p.label} TLB va 0x${t.va.toString(16)} -> ${frameLabel(t.mfn)}`;
      if (f.free) out.push(broken('I13', `${at}: the frame is free`));
      else if (t.writable && f.validated && f.typeCount > 0 && f.type >= 1 && f.type <= 5)
        out.push(broken('I2', `${at} is writable, the frame is ${typeLabel(f.type)}`));
    }
  }
  return out;
}

/** No entry of a live table names a free frame (I13). */
export function checkFreeFrames(): Violation[] {
  const out: Violation[] = [];
  eachFrame((f) => {
    if (!isLiveTable(f)) return;
    for (const e of presentEntries(f.mfn, f.type)) {
      if (e.mfn >= 0 && frameOf(e.mfn).free)
        out.push(
          broken('I13', `L${String(f.type)} ${frameLabel(f.mfn)}[${String(e.index)}] names free ${frameLabel(e.mfn)}`),
        );
    }
  });
  return out;
}
