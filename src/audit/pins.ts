/**
 * I8, I9: pins of grants against live handles, and the bits that the granter sees against the pins.
 *
 * Source: reference xen-pv-memory.md, section 6; [X41], [X45], [X46].
 */
import { grantTable } from '../hypervisor/grant/table.js';
import { peek } from '../sync/primitives.js';
import { activeAt, type Grant } from './grant-view.js';
import type { Handle } from './handles.js';
import type { Domain, Stock } from './stock.js';
import { broken, type Violation } from './violation.js';

const PIN_NAMES = ['host w', 'host r', 'device w', 'device r'] as const;
const pinCount = (pin: number, n: number): number => (pin >>> (8 * n)) & 0xff;

/** The pin word that the live handles of one grant amount to. */
function pinsOf(handles: readonly Handle[]): number[] {
  const pins = [0, 0, 0, 0];
  for (const h of handles) {
    const mode = h.readonly ? 1 : 0;
    if (h.host) pins[mode]! += 1;
    if (h.device) pins[2 + mode]! += 1;
  }
  return pins;
}

const grantLabel = (d: Domain, ref: number): string => `${d.label} ref ${String(ref)}`;

function checkPin(d: Domain, g: Grant, handles: readonly Handle[]): Violation[] {
  const want = pinsOf(handles);
  const who = handles.map((h) => h.label);
  const at = grantLabel(d, g.ref);
  const out = PIN_NAMES.flatMap((name, n) => {
    const has = pinCount(g.pin, n);
    const found = want[n] ?? 0;
    if (has === found) return [];
    return [broken('I8', `${at}: pin ${name} is ${String(has)}, live handles amount to ${String(found)}`, who)];
  });
  for (const h of handles) {
    if (h.mapper.domid === g.mapper) continue;
    out.push(broken('I8', `${at}: pinned for d${String(g.mapper)}, mapped by ${h.mapper.label}`, [h.label]));
  }
  return out;
}

/** The bits are the granter's to see while it lives; it may have written some into an idle entry itself ([X41]). */
function checkBits(d: Domain, g: Grant, handles: readonly Handle[]): Violation[] {
  if (!d.alive || g.transfers) return [];
  if (g.reading === (g.pin !== 0) && g.writing === g.writePins) return [];
  const pin = `0x${(g.pin >>> 0).toString(16)}`;
  const text = `${grantLabel(d, g.ref)}: pin ${pin}, reading ${String(g.reading)}, writing ${String(g.writing)}`;
  const who = handles.map((h) => h.label);
  return [broken('I9', text, who)];
}

function checkTable(d: Domain, grants: readonly Grant[], byRef: ReadonlyMap<number, Handle[]>): Violation[] {
  if (d.table === 0) return [];
  const out = grants.flatMap((g) => {
    const handles = byRef.get(g.ref) ?? [];
    return [...checkPin(d, g, handles), ...checkBits(d, g, handles)];
  });
  for (const [ref, handles] of byRef) {
    if (activeAt(d.table, ref) !== 0) continue;
    out.push(...handles.map((h) => broken('I8', `${h.label} names no grant: the table ends before it`, [h.label])));
  }
  const copies = peek(grantTable.nrV2Ops(d.table));
  if (copies !== 0) out.push(broken('I8', `${d.label}: ${String(copies)} copies in flight that nobody makes`));
  return out;
}

/** I8 and I9 of every table that can still be found. */
export function checkPins(stock: Stock): Violation[] {
  const byGranter = new Map<number, Map<number, Handle[]>>();
  for (const h of stock.handles) {
    const byRef = byGranter.get(h.granterId) ?? new Map<number, Handle[]>();
    byRef.set(h.ref, [...(byRef.get(h.ref) ?? []), h]);
    byGranter.set(h.granterId, byRef);
  }
  return stock.domains.flatMap((d) => {
    const byRef = byGranter.get(d.domid) ?? new Map<number, Handle[]>();
    return checkTable(d, stock.grants.get(d.domid) ?? [], byRef);
  });
}
