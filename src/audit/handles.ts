/**
 * Live handles of a mapper, each with the grant it stands for.
 *
 * Invariant: a handle lives while its flags are not 0 ([X47]); it knows its granter by id only, which may be gone.
 * Source: [X46]-[X48]; src/hypervisor/grant/maptrack.ts.
 */
import { INVALID_MFN, type Mfn } from '../abi/frames.js';
import { GNTMAP_device_map, GNTMAP_host_map, GNTMAP_readonly } from '../abi/grant.js';
import { active } from '../hypervisor/grant/active.js';
import { mapping, type Mapping } from '../hypervisor/grant/maptrack.js';
import { grantTable } from '../hypervisor/grant/table.js';
import { peek } from '../sync/primitives.js';
import { activeAt, mappingAt } from './grant-view.js';
import type { Domain } from './stock.js';
import { inMachine } from './view.js';

export interface Handle {
  readonly mapper: Domain;
  readonly handle: number;
  /** Undefined: the granter is gone, its id free. */
  readonly granter: Domain | undefined;
  readonly granterId: number;
  readonly ref: number;
  /** The frame of the active entry; INVALID_MFN when there is no such entry any more. */
  readonly mfn: Mfn;
  readonly host: boolean;
  readonly device: boolean;
  readonly readonly: boolean;
  readonly label: string;
}

/** Every live handle of a domain. */
export function handlesOf(mapper: Domain, byId: ReadonlyMap<number, Domain>): Handle[] {
  const out: Handle[] = [];
  const limit = mapper.table === 0 ? 0 : peek(grantTable.maptrackLimit(mapper.table));
  for (let n = 0; n < limit; n++) {
    const entry = mappingAt(mapper.table, n);
    if (entry !== 0 && peek(mapping.flags(entry)) !== 0) out.push(handleAt(mapper, n, entry, byId));
  }
  return out;
}

function handleAt(mapper: Domain, handle: number, entry: Mapping, byId: ReadonlyMap<number, Domain>): Handle {
  const flags = peek(mapping.flags(entry));
  const granterId = peek(mapping.domid(entry));
  const granter = byId.get(granterId);
  const ref = peek(mapping.ref(entry)) >>> 0;
  const readonly = (flags & GNTMAP_readonly) !== 0;
  return {
    mapper,
    handle,
    granter,
    granterId,
    ref,
    mfn: frameOfGrant(granter, ref),
    host: (flags & GNTMAP_host_map) !== 0,
    device: (flags & GNTMAP_device_map) !== 0,
    readonly,
    label: `${mapper.label} handle ${String(handle)} of d${String(granterId)} ref ${String(ref)} ${readonly ? 'ro' : 'rw'}`,
  };
}

function frameOfGrant(granter: Domain | undefined, ref: number): Mfn {
  const a = granter === undefined || granter.table === 0 ? 0 : activeAt(granter.table, ref);
  const mfn = a === 0 ? INVALID_MFN : peek(active.mfn(a));
  return (inMachine(mfn) ? mfn : INVALID_MFN) as Mfn;
}
