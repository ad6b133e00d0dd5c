/**
 * What a word of the shared memory is called in reports: the frame's record, the table's entry, the lock, the field.
 *
 * Invariant: reads only; for people, nothing parses these names.
 */
import { domain, domainSlot, domainSlots } from '../../hypervisor/domain.js';
import { DOMAIN_WORDS, globals } from '../../hypervisor/globals.js';
import { vcpu } from '../../machine/cpu-record.js';
import { NO_OWNER, ownerOf, ownerWord } from '../../machine/frame.js';
import { DOMID_IO, DOMID_XEN, type Mfn } from '../../abi/frames.js';
import {
  ARENA,
  CHUNK_WORDS,
  FRAME_TABLE,
  FRAME_WORDS,
  GLOBALS,
  TLBS,
  TLB_SLOT_WORDS,
  TLB_WORDS,
} from '../../machine/layout.js';
import { actor, ACTOR_UPPER, CPU_WORDS, CPUS_BASE, cpuAt, HEADER_BASE } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';

/** Words of a frame record, in order (`machine/frame.ts`). */
const FRAME_FIELDS = ['count_info', 'type_info', 'owner', 'stamp'];
/** Owners that are no guests. */
const OWNERS: Readonly<Record<number, string>> = { [DOMID_IO]: 'DOMID_IO', [DOMID_XEN]: 'Xen' };
const hex = (n: number): string => `0x${n.toString(16)}`;

/** Names by address: of actors as the scenario calls them, of the guests' records by `guestName`. */
export function nameWord(a: number, actorName: (index: number) => string, guestName: (a: number) => string): string {
  if (a < FRAME_TABLE) return `mfn ${hex(a >>> 10)}${owned(a >>> 10)} word ${String(a & 1023)}`;
  if (a < TLBS) {
    const mfn = Math.floor((a - FRAME_TABLE) / FRAME_WORDS);
    return `${FRAME_FIELDS[(a - FRAME_TABLE) % FRAME_WORDS] ?? '?'} of mfn ${hex(mfn)}${owned(mfn)}`;
  }
  if (a < GLOBALS) {
    const slot = Math.floor(((a - TLBS) % TLB_WORDS) / TLB_SLOT_WORDS);
    return `TLB of ${actorName(Math.floor((a - TLBS) / TLB_WORDS))}, slot ${String(slot)}`;
  }
  if (a < ARENA) return globalName(a);
  if (a < CPUS_BASE) {
    const own = guestName(a);
    return own === ''
      ? `record at arena+${hex(a - ARENA)} (chunk ${String(Math.floor((a - ARENA) / CHUNK_WORDS))})`
      : own;
  }
  return a < HEADER_BASE ? actorWord(a, actorName) : `machine header+${String(a - HEADER_BASE)}`;
}

function owned(mfn: number): string {
  const owner = ownerOf(peek(ownerWord(mfn as Mfn)));
  return owner === NO_OWNER ? '' : ` of ${OWNERS[owner] ?? `d${String(owner)}`}`;
}

function globalName(a: number): string {
  for (let i = 0; i < domainSlots; i++) {
    const d = domainSlot(i);
    if (a < d || a >= d + DOMAIN_WORDS) continue;
    return `domain d${String(peek(domain.domid(d)))}.${nearest(domain, d, a)}`;
  }
  const known = Object.entries(globals).find(([, at]) => at === a);
  return known === undefined ? `hypervisor globals+${String(a - GLOBALS)}` : known[0];
}

function actorWord(a: number, actorName: (index: number) => string): string {
  const index = Math.floor((a - CPUS_BASE) / CPU_WORDS);
  const cpu = cpuAt(index);
  const name = a < cpu + ACTOR_UPPER ? nearest(actor, cpu, a) : nearest(vcpu, cpu, a);
  return `${actorName(index)}.${name}`;
}

/** The field of a record that begins last at or before `a`. */
function nearest(fields: object, base: number, a: number): string {
  let name = '?';
  let start = -1;
  for (const [key, at] of Object.entries(fields)) {
    const from = (at as (r: number, i: number) => number)(base, 0);
    if (from <= a && from > start) {
      name = key;
      start = from;
    }
  }
  return start === a ? name : `${name}+${String(a - start)}`;
}
