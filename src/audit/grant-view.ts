/**
 * Plain reads of grant tables of a still machine: active entries, the shared bits, maptrack entries.
 *
 * Invariant: nothing is written; a number beyond its table is answered with 0, so that a corrupt table can be looked at.
 * Source: [X38], [X46], [X47]; src/hypervisor/grant/{table,active,maptrack}.ts.
 */
import { mfnWord, type Mfn } from '../abi/frames.js';
import {
  GRANT_STATUS_PER_FRAME,
  GRANT_V1_PER_FRAME,
  GRANT_V1_WORDS,
  GRANT_V2_PER_FRAME,
  GRANT_V2_WORDS,
  GTF_accept_transfer,
  GTF_reading,
  GTF_type_mask,
  GTF_writing,
  lowHalf,
} from '../abi/grant.js';
import { active, GNTPIN_w_mask, type Active } from '../hypervisor/grant/active.js';
import type { Mapping } from '../hypervisor/grant/maptrack.js';
import {
  ACTIVE_PER_CHUNK,
  ACTIVE_WORDS,
  grantTable,
  MAPTRACK_PER_CHUNK,
  MAPTRACK_WORDS,
  type GrantTable,
} from '../hypervisor/grant/table.js';
import { peek } from '../sync/primitives.js';
import { inMachine } from './view.js';

const isV1 = (gt: GrantTable): boolean => peek(grantTable.version(gt)) === 1;
const perFrame = (gt: GrantTable): number => (isV1(gt) ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME);

export const entriesOf = (gt: GrantTable): number => peek(grantTable.nrGrantFrames(gt)) * perFrame(gt);

/** The active entry of a reference; 0 beyond the table. */
export function activeAt(gt: GrantTable, ref: number): Active {
  if (ref < 0 || ref >= entriesOf(gt)) return 0 as Active;
  const chunk = peek(peek(grantTable.activeList(gt)) + Math.floor(ref / ACTIVE_PER_CHUNK));
  return (chunk === 0 ? 0 : chunk + (ref % ACTIVE_PER_CHUNK) * ACTIVE_WORDS) as Active;
}

/** The maptrack entry of a handle below the limit; 0: there is none. */
export function mappingAt(gt: GrantTable, handle: number): Mapping {
  const chunk = peek(peek(grantTable.maptrackList(gt)) + Math.floor(handle / MAPTRACK_PER_CHUNK));
  return (chunk === 0 ? 0 : chunk + (handle % MAPTRACK_PER_CHUNK) * MAPTRACK_WORDS) as Mapping;
}

function frameInList(list: number, i: number): Mfn {
  const mfn = peek(list + i);
  return (inMachine(mfn) ? mfn : 0) as Mfn;
}

/** The first word, {flags, domid}, of a shared entry. */
function header(gt: GrantTable, ref: number): number {
  const per = perFrame(gt);
  const mfn = frameInList(peek(grantTable.sharedList(gt)), Math.floor(ref / per));
  return peek(mfnWord(mfn) + (ref % per) * (isV1(gt) ? GRANT_V1_WORDS : GRANT_V2_WORDS));
}

function statusWord(gt: GrantTable, ref: number): number {
  const mfn = frameInList(peek(grantTable.statusList(gt)), Math.floor(ref / GRANT_STATUS_PER_FRAME));
  const i = ref % GRANT_STATUS_PER_FRAME;
  return lowHalf(peek(mfnWord(mfn) + (i >> 1)) >>> ((i & 1) * 16));
}

/** The half word with GTF_reading and GTF_writing: of version 1 the entry's flags. */
const statusOf = (gt: GrantTable, ref: number): number => (isV1(gt) ? lowHalf(header(gt, ref)) : statusWord(gt, ref));

/** What a grant is and what its granter sees of its use. */
export interface Grant {
  readonly ref: number;
  readonly pin: number;
  readonly writePins: boolean;
  /** The domain and the frame it was last claimed for; latched while the pin is above 0. */
  readonly mapper: number;
  readonly mfn: Mfn;
  /** GTF_reading and GTF_writing, where the version keeps them. */
  readonly reading: boolean;
  readonly writing: boolean;
  /** An idle entry that takes transfers uses the bits for something else ([X39]). */
  readonly transfers: boolean;
}

export function grantAt(gt: GrantTable, ref: number): Grant | undefined {
  const a = activeAt(gt, ref);
  if (a === 0) return undefined;
  const status = statusOf(gt, ref);
  const pin = peek(active.pin(a));
  return {
    ref,
    pin,
    writePins: (pin & GNTPIN_w_mask) !== 0,
    mapper: peek(active.domid(a)),
    mfn: peek(active.mfn(a)) as Mfn,
    reading: (status & GTF_reading) !== 0,
    writing: (status & GTF_writing) !== 0,
    transfers: isV1(gt) && pin === 0 && (status & GTF_type_mask) === GTF_accept_transfer,
  };
}

/** Every entry of a table that is or was in use, or shows bits of use. */
export function grantsOf(gt: GrantTable): Grant[] {
  const out: Grant[] = [];
  const n = gt === 0 ? 0 : entriesOf(gt);
  for (let ref = 0; ref < n; ref++) {
    const a = activeAt(gt, ref);
    const g = a === 0 || !touched(gt, ref, a) ? undefined : grantAt(gt, ref);
    if (g !== undefined) out.push(g);
  }
  return out;
}

const touched = (gt: GrantTable, ref: number, a: Active): boolean =>
  peek(active.pin(a)) !== 0 || peek(active.mfn(a)) !== 0 || (statusOf(gt, ref) & (GTF_reading | GTF_writing)) !== 0;
