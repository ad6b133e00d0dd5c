/**
 * I8 to I11, I14: handles, pins, shared flags and PTEs agree.
 *
 * Source: reference xen-pv-memory.md, section 6; [X41]-[X47], [X61].
 */
import { GTF_reading, GTF_writing } from '../abi/grant.js';
import { PAGE_RW } from '../abi/pte.js';
import { domain, DOMDYING_alive, type DomainRef } from '../hypervisor/domain.js';
import { active, GNTPIN_w_mask } from '../hypervisor/grant/active.js';
import { freeList, freeListOf, mapping } from '../hypervisor/grant/maptrack.js';
import { grantTable } from '../hypervisor/grant/table.js';
import { NO_OWNER } from '../machine/frame.js';
import { peek } from '../sync/primitives.js';
import {
  activeOf,
  domidOfRecord,
  entriesOf,
  liveHandles,
  mappingAt,
  statusBits,
  tableOf,
  type Handle,
} from './grant-view.js';
import type { GuestReport } from '../abi/guest.js';
import { allDomains, eachFrame, frameLabel, frameOf, isLiveTable, presentEntries } from './view.js';
import { broken, type Violation } from './violation.js';

const byte = (pin: number, n: number): number => (pin >>> (8 * n)) & 0xff;
const PIN_NAMES = ['host w', 'host r', 'device w', 'device r'] as const;

/** Pins that the live handles of one grant amount to: {host w, host r, device w, device r}. */
function pinsOf(handles: readonly Handle[]): number[] {
  const pins = [0, 0, 0, 0];
  for (const h of handles) {
    const mode = h.readonly ? 1 : 0;
    if (h.host) pins[mode] = (pins[mode] ?? 0) + 1;
    if (h.device) pins[2 + mode] = (pins[2 + mode] ?? 0) + 1;
  }
  return pins;
}

function checkPins(d: DomainRef, byGrant: ReadonlyMap<string, Handle[]>): Violation[] {
  const out: Violation[] = [];
  const gt = tableOf(d);
  if (gt === 0) return out;
  const id = domidOfRecord(d);
  const alive = peek(domain.dying(d)) === DOMDYING_alive;
  const entries = entriesOf(gt);
  for (let ref = 0; ref < entries; ref++) {
    const a = activeOf(gt, ref);
    const pin = peek(active.pin(a));
    const handles = byGrant.get(`${String(id)}.${String(ref)}`) ?? [];
    if (pin === 0 && handles.length === 0) {
      if (alive) out.push(...checkFlags(d, ref, 0));
      continue;
    }
    const want = pinsOf(handles);
    PIN_NAMES.forEach((name, n) => {
      const mine = want[n] ?? 0;
      if (mine !== byte(pin, n))
        out.push(
          broken(
            'I8',
            `d${String(id)} ref ${String(ref)}: pin ${name} is ${String(byte(pin, n))}, live handles amount to ${String(mine)}`,
            handles.map((h) => h.label),
          ),
        );
    });
    if (alive) out.push(...checkFlags(d, ref, pin));
  }
  return out;
}

function checkFlags(d: DomainRef, ref: number, pin: number): Violation[] {
  const gt = tableOf(d);
  const bits = statusBits(gt, ref);
  const reading = (bits & GTF_reading) !== 0;
  const writing = (bits & GTF_writing) !== 0;
  // Bits that a guest wrote itself into an idle entry are the guest's business ([X41]).
  if (pin === 0) return [];
  if (reading && writing === ((pin & GNTPIN_w_mask) !== 0)) return [];
  return [
    broken(
      'I9',
      `d${String(domidOfRecord(d))} ref ${String(ref)}: pin 0x${(pin >>> 0).toString(16)}, reading ${String(reading)}, writing ${String(writing)}`,
    ),
  ];
}

interface ForeignPte {
  readonly tableOwner: number;
  readonly mfn: number;
  readonly rw: boolean;
  readonly where: string;
}

/** Present entries of validated L1s that name a frame; keyed by table owner, frame and mode. */
function ptesByFrame(frames: ReadonlySet<number>): { matches: Map<string, ForeignPte[]>; foreign: ForeignPte[] } {
  const matches = new Map<string, ForeignPte[]>();
  const foreign: ForeignPte[] = [];
  eachFrame((f) => {
    if (!isLiveTable(f) || f.type !== 1) return;
    for (const e of presentEntries(f.mfn, 1)) {
      if (e.mfn < 0) continue;
      const pte: ForeignPte = {
        tableOwner: f.owner,
        mfn: e.mfn,
        rw: (e.lo & PAGE_RW) !== 0,
        where: `L1 ${frameLabel(f.mfn)}[${String(e.index)}]`,
      };
      const target = frameOf(e.mfn);
      const isForeign = target.owner !== f.owner && target.owner < 0x7ff0 && !target.xenHeap;
      if (isForeign || frames.has(e.mfn)) {
        const key = `${String(f.owner)} ${String(e.mfn)} ${String(pte.rw)}`;
        const list = matches.get(key) ?? [];
        list.push(pte);
        matches.set(key, list);
      }
      if (isForeign) foreign.push(pte);
    }
  });
  return { matches, foreign };
}

const keyOf = (h: Handle): string => `${String(h.mapperId)} ${String(h.mfn)} ${String(!h.readonly)}`;

/** I10 and I11: live host handles and foreign PTEs match one to one. */
function checkMappings(handles: readonly Handle[], guests: readonly GuestReport[]): Violation[] {
  const out: Violation[] = [];
  const host = handles.filter((h) => h.host);
  const { matches, foreign } = ptesByFrame(new Set(host.map((h) => h.mfn)));
  const left = new Map([...matches].map(([k, v]) => [k, v.length]));
  for (const h of host) {
    const n = left.get(keyOf(h)) ?? 0;
    if (n > 0) left.set(keyOf(h), n - 1);
    else out.push(leakedHandle(h, guests));
  }
  const unprivileged = new Set(
    allDomains()
      .filter((d) => peek(domain.privileged(d)) === 0)
      .map(domidOfRecord),
  );
  const spare = new Map(left);
  for (const p of foreign) {
    const key = `${String(p.tableOwner)} ${String(p.mfn)} ${String(p.rw)}`;
    const n = spare.get(key) ?? 0;
    if (n === 0 || !unprivileged.has(p.tableOwner)) continue;
    spare.set(key, n - 1);
    out.push(broken('I11', `d${String(p.tableOwner)} ${p.where} names foreign ${frameLabel(p.mfn)} without a handle`));
  }
  return out;
}

function leakedHandle(h: Handle, guests: readonly GuestReport[]): Violation {
  const keeper = guests
    .filter((g) => g.domid === h.mapperId)
    .flatMap((g) => g.handles)
    .find((k) => k.handle === h.handle && k.willRelease);
  const owner = h.mfn >= 0 ? frameOf(h.mfn).owner : NO_OWNER;
  return {
    invariant: 'I10',
    detail: `leaked handle: ${h.label} has no PTE of ${h.mfn < 0 ? 'a vanished frame' : frameLabel(h.mfn)} in a validated L1`,
    holders: [
      h.label,
      `d${String(h.granterId)} grant entry ${String(h.ref)} stays in use (frame of ${owner === NO_OWNER ? 'nobody' : `d${String(owner)}`})`,
      ...(keeper === undefined ? ['no driver holds the handle any more'] : [keeper.who]),
    ],
    severity: keeper === undefined ? 'leaked' : 'degraded',
  };
}

/** I14: each handle below the limit is live or on exactly one free list; no list has a cycle. */
function checkMaptrack(d: DomainRef): Violation[] {
  const gt = tableOf(d);
  if (gt === 0) return [];
  const out: Violation[] = [];
  const limit = peek(grantTable.maptrackLimit(gt));
  const seen = new Map<number, number>();
  const id = domidOfRecord(d);
  for (let v = 0; v < peek(grantTable.vcpus(gt)); v++) {
    let h = peek(freeList.head(freeListOf(gt, v)));
    for (let n = 0; h !== -1 && n <= limit; n++) {
      if (h < 0 || h >= limit) {
        out.push(broken('I14', `d${String(id)}: free list of vCPU ${String(v)} names handle ${String(h)}`));
        break;
      }
      if (seen.has(h)) {
        out.push(broken('I14', `d${String(id)}: handle ${String(h)} is twice on free lists`));
        break;
      }
      seen.set(h, v);
      h = peek(mapping.ref(mappingAt(gt, h)));
    }
  }
  for (let h = 0; h < limit; h++) {
    const live = peek(mapping.flags(mappingAt(gt, h))) !== 0;
    if (live === seen.has(h))
      out.push(
        broken(
          'I14',
          `d${String(id)}: handle ${String(h)} is ${live ? 'live and on a free list' : 'neither live nor free'}`,
        ),
      );
  }
  return out;
}

export function checkGrants(guests: readonly GuestReport[]): Violation[] {
  const handles = liveHandles();
  const byGrant = new Map<string, Handle[]>();
  for (const h of handles) {
    const key = `${String(h.granterId)}.${String(h.ref)}`;
    byGrant.set(key, [...(byGrant.get(key) ?? []), h]);
  }
  return [
    ...allDomains().flatMap((d) => [...checkPins(d, byGrant), ...checkMaptrack(d)]),
    ...checkMappings(handles, guests),
  ];
}
