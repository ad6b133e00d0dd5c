/**
 * Random programs of grants, maps, unmaps, overwritten entries, copies and revokes: whatever they do, afterwards pins
 * equal live handles ([I8]), the granter's bits say what the pins say ([I9]), and no handle is lost ([I14]).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  GNTMAP_device_map,
  GNTMAP_host_map,
  GNTMAP_readonly,
  GTF_permit_access,
  GTF_reading,
  GTF_readonly,
  GTF_writing,
} from '../../../src/abi/grant.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { actor } from '../../../src/sync/actor.js';
import { peek, poke } from '../../../src/sync/primitives.js';
import { boot, grant, makeDom, on, slotEntry, slotVa, type Dom } from './lab.js';
import {
  activeLocked,
  claimsOf,
  entryWord,
  freeHandles,
  liveMappings,
  maptrackLimit,
  pinOf,
  type Live,
} from './tables.js';

const REFS = [8, 9, 10];
const SLOTS = 6;
const FLAGS = [
  GNTMAP_host_map,
  GNTMAP_host_map | GNTMAP_readonly,
  GNTMAP_device_map,
  GNTMAP_host_map | GNTMAP_device_map | GNTMAP_readonly,
  GNTMAP_readonly,
];

const step = fc.oneof(
  fc.record({
    op: fc.constant('grant' as const),
    ref: fc.constantFrom(...REFS),
    frame: fc.nat(3),
    to: fc.nat(3),
    ro: fc.boolean(),
  }),
  fc.record({
    op: fc.constant('map' as const),
    by: fc.nat(1),
    ref: fc.constantFrom(...REFS),
    flags: fc.constantFrom(...FLAGS),
    slot: fc.nat(SLOTS - 1),
  }),
  fc.record({
    op: fc.constant('unmap' as const),
    by: fc.nat(1),
    which: fc.nat(7),
    slot: fc.nat(SLOTS - 1),
    dev: fc.boolean(),
  }),
  fc.record({ op: fc.constant('zap' as const), by: fc.nat(1), slot: fc.nat(SLOTS - 1) }),
  fc.record({ op: fc.constant('revoke' as const), ref: fc.constantFrom(...REFS) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The pin word that these mappings amount to. */
function pinsOf(live: readonly Live[]): number {
  let pin = 0;
  for (const { flags } of live) {
    const ro = (flags & GNTMAP_readonly) !== 0;
    if ((flags & GNTMAP_host_map) !== 0) pin += ro ? 1 << 8 : 1;
    if ((flags & GNTMAP_device_map) !== 0) pin += ro ? 1 << 24 : 1 << 16;
  }
  return pin;
}

function check(granter: Dom, mappers: readonly Dom[]): void {
  const live = mappers.flatMap((m) => liveMappings(m.gt).map((l) => ({ ...l, by: m })));
  for (const ref of REFS) {
    const pin = pinOf(granter.gt, ref);
    expect(pin).toBe(pinsOf(live.filter((l) => l.ref === ref)));
    const writes = (pin & 0xff00ff) !== 0;
    expect(claimsOf(granter.gt, ref)).toBe((pin === 0 ? 0 : GTF_reading) | (writes ? GTF_writing : 0));
    expect(activeLocked(granter.gt, ref)).toBe(false);
  }
  for (const m of mappers) {
    expect(freeHandles(m.gt).length + liveMappings(m.gt).length).toBe(maptrackLimit(m.gt));
    expect(peek(actor.heldCount(m.cpus[0]!.g.cpu))).toBe(0);
  }
  for (const mfn of granter.frames) {
    const entries = mappers.flatMap((m) => Array.from({ length: SLOTS }, (_, i) => slotEntry(m, i)));
    const here = entries.filter((e) => (e & 1) !== 0 && e >>> 12 === mfn);
    const devices = live.filter(
      (l) => (l.flags & GNTMAP_device_map) !== 0 && frameOf.get(`${String(l.by.domid)}.${String(l.handle)}`) === mfn,
    );
    expect(peek(countInfo(mfn)) & PGC_count_mask).toBe(1 + here.length + devices.length);
    const writers =
      here.filter((e) => (e & 2) !== 0).length + devices.filter((l) => (l.flags & GNTMAP_readonly) === 0).length;
    expect(peek(typeInfo(mfn)) & PGT_count_mask).toBe(writers);
  }
}

/** Frame of each handle given out, by domain and handle: what the maps answered. */
const frameOf = new Map<string, number>();

function perform(s: Step, granter: Dom, mappers: readonly Dom[]): void {
  const by = 'by' in s ? mappers[s.by]! : granter;
  const c = by.cpus[0]!;
  if (s.op === 'grant') {
    // A kernel writes an entry only when it is free.
    if ((peek(entryWord(granter.gt, s.ref)) & 0xffff) !== 0) return;
    const to = [2, 3, 1, 9][s.to]!;
    grant(granter, s.ref, to, granter.frames[s.frame]!, GTF_permit_access | (s.ro ? GTF_readonly : 0));
  } else if (s.op === 'map') {
    const [r] = on(c, () => c.map({ dom: 1, ref: s.ref, flags: s.flags, slot: s.slot }));
    if (r!.status === 0) frameOf.set(`${String(by.domid)}.${String(r!.handle)}`, r!.dev >>> 12);
  } else if (s.op === 'unmap') {
    const live = liveMappings(by.gt);
    const handle = live.length === 0 ? s.which : live[s.which % live.length]!.handle;
    const dev = s.dev ? ((frameOf.get(`${String(by.domid)}.${String(handle)}`) ?? 0) << 12) | 0 : 0;
    on(c, () => c.unmap({ handle, slot: s.slot, dev }));
  } else if (s.op === 'zap') {
    on(c, () => c.updateVa(slotVa(s.slot), 0));
  } else {
    // What a kernel does to end a grant: only while nobody uses it.
    const at = entryWord(granter.gt, s.ref);
    if ((peek(at) & (GTF_reading | GTF_writing)) === 0) poke(at, peek(at) & ~0xffff);
  }
}

describe('programs of grants', () => {
  it('keep pins, bits, handles and references in step', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        boot();
        frameOf.clear();
        const granter = makeDom({ domid: 1 });
        const mappers = [makeDom({ domid: 2 }), makeDom({ domid: 3 })];
        for (const s of steps) {
          perform(s, granter, mappers);
          check(granter, mappers);
        }
      }),
      { numRuns: 150 },
    );
  });
});
