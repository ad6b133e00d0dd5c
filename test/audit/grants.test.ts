/** I8 to I11, I14, and I12 and I13 of grants: what is spoiled in grant tables and maptracks is found, with the handles involved. */
import { beforeEach, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { entryLo } from '../../src/abi/pte.js';
import { auditMachine } from '../../src/audit/index.js';
import { active, type Active } from '../../src/hypervisor/grant/active.js';
import { freeList, freeListOf, mapping, type Mapping } from '../../src/hypervisor/grant/maptrack.js';
import { ACTIVE_WORDS, grantTable, MAPTRACK_WORDS } from '../../src/hypervisor/grant/table.js';
import * as fr from '../../src/machine/frame.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { change, findings, Fixture, invariants, ofInvariant, only } from './fixture.js';

let x: Fixture;
beforeEach(() => {
  x = new Fixture();
  expect(findings()).toEqual([]);
});

/** Active entry of a reference of d1, maptrack entry of a handle of d2. */
const activeOf = (ref: number): Active =>
  (peek(peek(grantTable.activeList(x.table(1)))) + ref * ACTIVE_WORDS) as Active;
const mappingOf = (h: number): Mapping =>
  (peek(peek(grantTable.maptrackList(x.table(2)))) + h * MAPTRACK_WORDS) as Mapping;
/** Shared entry of a reference of d1: {flags, domid}. */
const sharedOf = (ref: number): number => peek(peek(grantTable.sharedList(x.table(1)))) * 1024 + ref * 2;

test('I8: each kind of pin against the live handles', () => {
  change(active.pin(activeOf(8)), (w) => w + 0x100);
  change(active.pin(activeOf(9)), (w) => w - 0x01000000);
  expect(findings()).toEqual([
    'I8 d1 ref 8: pin host r is 1, live handles amount to 0',
    'I8 d1 ref 9: pin device r is 0, live handles amount to 1',
  ]);
  expect(ofInvariant('I8').map((v) => v.holders)).toEqual([
    ['d2 handle 0 of d1 ref 8 rw'],
    ['d2 handle 1 of d1 ref 9 ro'],
  ]);
});

test('I8: a pin for another domain than the mapper, and copies that nobody makes', () => {
  poke(active.domid(activeOf(8)), 0);
  poke(grantTable.nrV2Ops(x.table(1)), 2);
  expect(ofInvariant('I8').map((v) => v.detail)).toEqual([
    'd1 ref 8: pinned for d0, mapped by d2',
    'd1: 2 copies in flight that nobody makes',
  ]);
  poke(mapping.ref(mappingOf(1)), 600);
  expect(ofInvariant('I8').map((v) => v.detail)).toContain(
    'd2 handle 1 of d1 ref 600 ro names no grant: the table ends before it',
  );
});

test('I9: bits of use that are missing, too many, or left behind', () => {
  change(sharedOf(8), (w) => w & ~16);
  change(sharedOf(9), (w) => w | 16);
  change(sharedOf(20), (w) => w | 1 | 8);
  expect(ofInvariant('I9').map((v) => v.detail)).toEqual([
    'd1 ref 8: pin 0x1, reading true, writing false',
    'd1 ref 9: pin 0x1000100, reading true, writing true',
    'd1 ref 20: pin 0x0, reading true, writing false',
  ]);
  expect(ofInvariant('I9')[0]?.holders).toEqual(['d2 handle 0 of d1 ref 8 rw']);
});

test('I9: a completed transfer is no reader', () => {
  change(sharedOf(20), (w) => w | 2 | 4 | 8);
  expect(findings()).toEqual([]);
});

test('I10: a handle whose entry was overwritten is leaked, or degraded while a driver will release it', () => {
  x.do({ op: 'update_va', by: 'd2', va: 100, v: '0x0' });
  expect(invariants()).toEqual(['I10']);
  expect(only('I10')).toEqual({
    invariant: 'I10',
    detail: `leaked handle: d2 handle 0 of d1 ref 8 rw has no entry for ${x.at('f5')} in a validated L1`,
    holders: ['d2 handle 0 of d1 ref 8 rw', 'd1 grant entry 8 stays in use', 'no driver knows the handle any more'],
    severity: 'leaked',
    held: { kind: 'handle', domid: 2, handle: 0 },
  });
  const report = (willRelease: boolean): Parameters<typeof auditMachine>[1] => [
    { domid: 2, handles: [{ handle: 0, who: 'gntdev map 3', willRelease }], frames: [], violations: [] },
  ];
  const [degraded] = auditMachine(['I10'], report(true));
  expect([degraded?.severity, degraded?.holders.at(-1)]).toEqual(['degraded', 'gntdev map 3']);
  const [given] = auditMachine(['I10'], report(false));
  expect([given?.severity, given?.holders.at(-1)]).toEqual(['leaked', 'gntdev map 3, which will not release it']);
});

test('I10: an entry serves one handle only, and only in its own mode, of its own mapper, in a valid table', () => {
  x.do({ op: 'gnt_map', by: 'd2', maps: [{ h: 2, dom: 'd1', ref: 0, flags: 6, va: 103 }] });
  expect(findings()).toEqual([]);
  const entry = x.entry('d2.SL1', 103);
  x.entry('d2.SL1', 103, entry | 2); // ro handle, rw entry
  expect(only('I10').holders[0]).toBe('d2 handle 2 of d1 ref 8 ro');
  x.entry('d2.SL1', 103, 0);
  x.entry('f0', 9, entry); // in d0's table
  expect(only('I10').holders[0]).toBe('d2 handle 2 of d1 ref 8 ro');
  x.entry('f0', 9, 0);
  x.entry('d2.SL1', 103, entry);
  expect(findings()).toEqual([]);
  change(fr.typeInfo(x.mfn('d2.SL1')), (w) => w & ~fr.PGT_validated);
  expect(ofInvariant('I10')).toHaveLength(3);
});

test('I11: a guest with a frame of another and no grant for it; by right d0 may', () => {
  x.entry('d2.SL1', 106, entryLo(x.mfn('f5'), 0x25));
  expect(only('I11')).toMatchObject({
    detail: `d2 L1 ${x.at('d2.SL1')}[106] ro names ${x.at('f5')} of d1 without a handle`,
    holders: [`d2 L1 ${x.at('d2.SL1')}[106] ro`],
  });
  x.entry('d2.SL1', 106, 0);
  x.do({ op: 'update_va', va: 109, dom: 'd1', v: { f: 'f7', fl: '0x67' } });
  expect(findings()).toEqual([]);
});

test('I12: the granter sees nobody, yet an entry and a translation reach the frame', () => {
  change(sharedOf(8), (w) => w & ~24);
  const where = `d2 L1 ${x.at('d2.SL1')}[100] rw`;
  const [entry, translation] = ofInvariant('I12');
  expect(entry?.detail).toBe(`d1 sees nobody at ref 8, yet ${where} maps its frame`);
  expect(entry?.holders).toEqual(['d2 handle 0 of d1 ref 8 rw', where]);
  expect(translation?.holders[0]).toMatch(/^d2v0 TLB va /);
  change(sharedOf(8), (w) => w | 8);
  expect(ofInvariant('I12')[0]?.detail).toBe(`d1 sees no writer at ref 8, yet ${where} maps its frame`);
  change(sharedOf(8), (w) => w | 16);
  change(sharedOf(9), (w) => w & ~8);
  expect(only('I12').holders).toEqual(['d2 handle 1 of d1 ref 9 ro', `d2 L1 ${x.at('d2.SL1')}[101] ro`]);
});

test('I14: a cycle, a stray number, a lost tail, a handle twice or nowhere', () => {
  const list = freeListOf(x.table(2), 0);
  const first = peek(freeList.head(list));
  const next = peek(mapping.ref(mappingOf(first)));
  const details = (): string[] => ofInvariant('I14').map((v) => v.detail);
  poke(mapping.ref(mappingOf(next)), first);
  expect(details()[0]).toBe(`d2: free list of vCPU 0 comes back to handle ${String(first)}`);
  poke(mapping.ref(mappingOf(next)), 100000);
  expect(details()[0]).toMatch(/^d2: free list of vCPU 0 names handle 100000 of \d+$/);
  poke(mapping.ref(mappingOf(next)), -1);
  expect(details()[0]).toMatch(/^d2: free list of vCPU 0 ends at handle \d+, its tail is \d+$/);
  expect(details()).toContain(`d2: handle ${String(next + 1)} is neither live nor free`);
  poke(mapping.ref(mappingOf(next)), next + 1);
  expect(details()).toEqual([]);
  poke(mapping.flags(mappingOf(next)), 2);
  expect(details()).toEqual([`d2: handle ${String(next)} is live and on a free list`]);
  poke(mapping.flags(mappingOf(next)), 0);
  poke(mapping.flags(mappingOf(1)), 4);
  expect(details()).toEqual(['d2: handle 1 is live and maps nothing']);
});

test('I13: the pin of an implicit unmap does not keep its frame from being freed', () => {
  x.do({ op: 'update_va', by: 'd2', va: 100, v: '0x0' });
  expect(x.do({ op: 'decrease', by: 'd1', f: ['f5'] }).rc).toBe(1);
  expect(invariants()).toEqual(['I10', 'I13']);
  expect(only('I13')).toMatchObject({
    detail: `d1 ref 8 pins ${x.at('f5')}, now of nobody`,
    holders: ['d2 handle 0 of d1 ref 8 rw'],
  });
  expect(only('I10').holders[1]).toBe('d1 grant entry 8 stays in use, its frame is now of nobody');
});
