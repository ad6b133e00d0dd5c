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

/** Where a table's entries lie. */
interface Layout {
  readonly v1: boolean;
  readonly entries: number;
  readonly perFrame: number;
  readonly words: number;
  readonly shared: number;
  readonly status: number;
  readonly active: number;
}

function layoutOf(gt: GrantTable): Layout {
  const v1 = peek(grantTable.version(gt)) === 1;
  const perFrame = v1 ? GRANT_V1_PER_FRAME : GRANT_V2_PER_FRAME;
  return {
    v1,
    entries: peek(grantTable.nrGrantFrames(gt)) * perFrame,
    perFrame,
    words: v1 ? GRANT_V1_WORDS : GRANT_V2_WORDS,
    shared: peek(grantTable.sharedList(gt)),
    status: peek(grantTable.statusList(gt)),
    active: peek(grantTable.activeList(gt)),
  };
}

function activeIn(l: Layout, ref: number): Active {
  const chunk = peek(l.active + Math.floor(ref / ACTIVE_PER_CHUNK));
  return (chunk === 0 ? 0 : chunk + (ref % ACTIVE_PER_CHUNK) * ACTIVE_WORDS) as Active;
}

/** The active entry of a reference; 0 beyond the table. */
export function activeAt(gt: GrantTable, ref: number): Active {
  const l = layoutOf(gt);
  return ref < 0 || ref >= l.entries ? (0 as Active) : activeIn(l, ref);
}

/** The maptrack entry of a handle below the limit; 0: there is none. */
export function mappingAt(gt: GrantTable, handle: number): Mapping {
  const chunk = peek(peek(grantTable.maptrackList(gt)) + Math.floor(handle / MAPTRACK_PER_CHUNK));
  return (chunk === 0 ? 0 : chunk + (handle % MAPTRACK_PER_CHUNK) * MAPTRACK_WORDS) as Mapping;
}

const frameStart = (list: number, i: number): number => {
  const mfn = peek(list + i);
  return inMachine(mfn) ? mfnWord(mfn as Mfn) : 0;
};

/** The half word with GTF_reading and GTF_writing: of version 1 the entry's flags, of version 2 its status. */
function statusOf(l: Layout, ref: number): number {
  if (l.v1) {
    const frame = frameStart(l.shared, Math.floor(ref / l.perFrame));
    return lowHalf(peek(frame + (ref % l.perFrame) * l.words));
  }
  const i = ref % GRANT_STATUS_PER_FRAME;
  const frame = frameStart(l.status, Math.floor(ref / GRANT_STATUS_PER_FRAME));
  return lowHalf(peek(frame + (i >> 1)) >>> ((i & 1) * 16));
}

/** What a grant is and what its granter sees of its use. */
export interface Grant {
  readonly ref: number;
  readonly pin: number;
  readonly writePins: boolean;
  /** The domain and the frame it was last claimed for; latched while the pin is above 0. */
  readonly mapper: number;
  readonly mfn: Mfn;
  readonly reading: boolean;
  readonly writing: boolean;
  /** An idle entry that takes transfers uses the bits for something else ([X39]). */
  readonly transfers: boolean;
}

function grantFrom(l: Layout, ref: number, a: Active, status: number): Grant {
  const pin = peek(active.pin(a));
  return {
    ref,
    pin,
    writePins: (pin & GNTPIN_w_mask) !== 0,
    mapper: peek(active.domid(a)),
    mfn: peek(active.mfn(a)) as Mfn,
    reading: (status & GTF_reading) !== 0,
    writing: (status & GTF_writing) !== 0,
    transfers: l.v1 && pin === 0 && (status & GTF_type_mask) === GTF_accept_transfer,
  };
}

export function grantAt(gt: GrantTable, ref: number): Grant | undefined {
  const a = activeAt(gt, ref);
  if (a === 0) return undefined;
  const l = layoutOf(gt);
  return grantFrom(l, ref, a, statusOf(l, ref));
}

/** Every entry of a table that is or was in use, or shows bits of use. */
export function grantsOf(gt: GrantTable): Grant[] {
  const out: Grant[] = [];
  if (gt === 0) return out;
  const l = layoutOf(gt);
  for (let ref = 0; ref < l.entries; ref++) {
    const a = activeIn(l, ref);
    if (a === 0) continue;
    const status = statusOf(l, ref);
    const idle = peek(active.pin(a)) === 0 && peek(active.mfn(a)) === 0;
    if (!idle || (status & (GTF_reading | GTF_writing)) !== 0) out.push(grantFrom(l, ref, a, status));
  }
  return out;
}
