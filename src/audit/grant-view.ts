/**
 * Live handles and active entries of a still machine, as the checks see them.
 *
 * Source: [X46], [X47]; src/hypervisor/grant/{table,active,maptrack}.ts.
 */
import type { Mfn } from '../abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly } from '../abi/grant.js';
import { domain, type DomainRef } from '../hypervisor/domain.js';
import { active, type Active } from '../hypervisor/grant/active.js';
import { mapping, maptrackEntry, type Mapping } from '../hypervisor/grant/maptrack.js';
import { activeEntry, grantTable, nrGrantEntries, statusHalf, type GrantTable } from '../hypervisor/grant/table.js';
import { peek, run } from '../sync/primitives.js';
import { allDomains } from './view.js';

export interface Handle {
  readonly mapper: DomainRef;
  readonly mapperId: number;
  readonly handle: number;
  readonly flags: number;
  readonly granterId: number;
  readonly ref: number;
  /** Frame of the active entry; -1 when the granter is gone. */
  readonly mfn: Mfn;
  readonly host: boolean;
  readonly device: boolean;
  readonly readonly: boolean;
  readonly label: string;
}

export const tableOf = (d: DomainRef): GrantTable => peek(domain.grantTable(d)) as GrantTable;
export const domidOfRecord = (d: DomainRef): number => peek(domain.domid(d));
export const domainById = (domid: number): DomainRef | undefined =>
  allDomains().find((d) => domidOfRecord(d) === domid);

/** The active entry of a reference; 0 beyond the table. */
export function activeOf(gt: GrantTable, ref: number): Active {
  return run(function* () {
    return (ref >>> 0 < (yield* nrGrantEntries(gt)) ? yield* activeEntry(gt, ref) : 0) as Active;
  });
}
export const entriesOf = (gt: GrantTable): number =>
  run(function* () {
    return yield* nrGrantEntries(gt);
  });
/** The half word with GTF_reading and GTF_writing of a reference. */
export function statusBits(gt: GrantTable, ref: number): number {
  const h = run(function* () {
    return yield* statusHalf(gt, peek(grantTable.version(gt)), ref);
  });
  return (peek(h >>> 1) >>> ((h & 1) * 16)) & 0xffff;
}
export const mappingAt = (gt: GrantTable, handle: number): Mapping =>
  run(function* () {
    return yield* maptrackEntry(gt, handle);
  });

function handleAt(d: DomainRef, gt: GrantTable, n: number): Handle | undefined {
  const entry = mappingAt(gt, n);
  const flags = peek(mapping.flags(entry));
  if (flags === 0) return undefined;
  const granterId = peek(mapping.domid(entry));
  const ref = peek(mapping.ref(entry));
  const granter = domainById(granterId);
  const granterTable = granter === undefined ? 0 : tableOf(granter);
  const a = granterTable === 0 ? 0 : activeOf(granterTable as GrantTable, ref);
  const readonly = (flags & GNTMAP_readonly) !== 0;
  const mapperId = domidOfRecord(d);
  return {
    mapper: d,
    mapperId,
    handle: n,
    flags,
    granterId,
    ref,
    mfn: (a === 0 ? -1 : peek(active.mfn(a as Active))) as Mfn,
    host: (flags & GNTMAP_host_map) !== 0,
    device: (flags & GNTMAP_device_map) !== 0,
    readonly,
    label: `d${String(mapperId)} handle ${String(n)} of d${String(granterId)} ref ${String(ref)} ${readonly ? 'ro' : 'rw'}`,
  };
}

/** Every live handle of every domain. */
export function liveHandles(): Handle[] {
  const out: Handle[] = [];
  for (const d of allDomains()) {
    const gt = tableOf(d);
    if (gt === 0) continue;
    const limit = peek(grantTable.maptrackLimit(gt));
    for (let n = 0; n < limit; n++) {
      const h = handleAt(d, gt, n);
      if (h !== undefined) out.push(h);
    }
  }
  return out;
}

/** Handles mapped for a device: their references are no PTE's ([I5], [I6]). */
export const deviceGrants = (): Handle[] => liveHandles().filter((h) => h.device && h.mfn >= 0);
