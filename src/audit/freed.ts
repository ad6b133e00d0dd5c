/**
 * I13 of tables and pins: nothing in force names a frame that was given away.
 *
 * Source: reference xen-pv-memory.md, section 6; [X63].
 */
import type { Stock } from './stock.js';
import {
  eachEntry,
  entryLabel,
  frameLabel,
  holdsEntries,
  inMachine,
  isFree,
  ownerLabel,
  ownerOfFrame,
  type Frame,
} from './view.js';
import { broken, type Violation } from './violation.js';

export const checkFreed = (stock: Stock): Violation[] => [...checkFreedEntries(stock), ...freedPins(stock)];

export const checkFreedEntries = (stock: Stock): Violation[] => stock.frames.filter(holdsEntries).flatMap(freedEntries);

function freedEntries(t: Frame): Violation[] {
  const out: Violation[] = [];
  eachEntry(t, (e) => {
    if (!inMachine(e.mfn) || !isFree(e.mfn)) return;
    const where = entryLabel(t, e);
    out.push(broken('I13', `${where} names free ${frameLabel(e.mfn)}`, [where]));
  });
  return out;
}

/** A pin whose last reference went with an implicit unmap keeps nobody from giving the frame away. */
function freedPins(stock: Stock): Violation[] {
  return stock.domains.flatMap((d) =>
    (stock.grants.get(d.domid) ?? []).flatMap((g) => {
      if (g.pin === 0 || !inMachine(g.mfn) || ownerOfFrame(g.mfn) === d.domid) return [];
      const users = stock.handles.filter((h) => h.granterId === d.domid && h.ref === g.ref).map((h) => h.label);
      const text = `${d.label} ref ${String(g.ref)} pins ${frameLabel(g.mfn)}, now of ${ownerLabel(ownerOfFrame(g.mfn))}`;
      return [broken('I13', text, users)];
    }),
  );
}
