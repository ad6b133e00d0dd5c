/**
 * I14: each handle below the limit is live or on exactly one free list; no list has a cycle or loses its end.
 *
 * Source: [X47]; src/hypervisor/grant/maptrack.ts. A dying mapper's lists go with its handles ([X64]) and are not looked at.
 */
import { GNTMAP_device_map, GNTMAP_host_map } from '../abi/grant.js';
import { freeList, freeListOf, mapping, NO_HANDLE } from '../hypervisor/grant/maptrack.js';
import { grantTable } from '../hypervisor/grant/table.js';
import { peek } from '../sync/primitives.js';
import { mappingAt } from './grant-view.js';
import type { Domain, Stock } from './stock.js';
import { broken, type Violation } from './violation.js';

interface Lists {
  readonly d: Domain;
  readonly limit: number;
  /** Handles found so far, with the vCPU whose list has them. */
  readonly free: Map<number, number>;
}

const wrong = (d: Domain, text: string): Violation => broken('I14', `${d.label}: ${text}`);

/** Follows one vCPU's list to its end. */
function followList(l: Lists, v: number): Violation[] {
  const list = freeListOf(l.d.table, v);
  const name = `free list of vCPU ${String(v)}`;
  let last = NO_HANDLE;
  for (let h = peek(freeList.head(list)); h !== NO_HANDLE; h = peek(mapping.ref(mappingAt(l.d.table, h)))) {
    if (h < 0 || h >= l.limit) return [wrong(l.d, `${name} names handle ${String(h)} of ${String(l.limit)}`)];
    const other = l.free.get(h);
    if (other === v) return [wrong(l.d, `${name} comes back to handle ${String(h)}`)];
    if (other !== undefined)
      return [wrong(l.d, `handle ${String(h)} is on the lists of vCPUs ${String(other)} and ${String(v)}`)];
    l.free.set(h, v);
    last = h;
  }
  const tail = peek(freeList.tail(list));
  return tail === last ? [] : [wrong(l.d, `${name} ends at handle ${String(last)}, its tail is ${String(tail)}`)];
}

function checkHandle(l: Lists, h: number): Violation[] {
  const flags = peek(mapping.flags(mappingAt(l.d.table, h)));
  const live = flags !== 0;
  const what = `handle ${String(h)}`;
  if (live && l.free.has(h)) return [wrong(l.d, `${what} is live and on a free list`)];
  if (!live && !l.free.has(h)) return [wrong(l.d, `${what} is neither live nor free`)];
  if (live && (flags & (GNTMAP_host_map | GNTMAP_device_map)) === 0)
    return [wrong(l.d, `${what} is live and maps nothing`)];
  return [];
}

function checkDomain(d: Domain): Violation[] {
  if (!d.alive || d.table === 0) return [];
  const l: Lists = { d, limit: peek(grantTable.maptrackLimit(d.table)), free: new Map() };
  const out: Violation[] = [];
  for (let v = 0; v < peek(grantTable.vcpus(d.table)); v++) out.push(...followList(l, v));
  for (let h = 0; h < l.limit; h++) out.push(...checkHandle(l, h));
  return out;
}

export const checkMaptrack = (stock: Stock): Violation[] => stock.domains.flatMap(checkDomain);
