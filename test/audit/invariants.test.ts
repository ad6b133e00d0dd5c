/** Every invariant of the machine: what is spoiled by hand is found under its name, with those who hold what is involved. */
import { beforeEach, describe, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { entryLo } from '../../src/abi/pte.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as fr from '../../src/machine/frame.js';
import { domain } from '../../src/hypervisor/domain.js';
import { active } from '../../src/hypervisor/grant/active.js';
import { freeList, freeListOf, mapping, type Mapping } from '../../src/hypervisor/grant/maptrack.js';
import { ACTIVE_WORDS, grantTable, MAPTRACK_WORDS } from '../../src/hypervisor/grant/table.js';
import type { Active } from '../../src/hypervisor/grant/active.js';
import { actor, REQ_FLUSH } from '../../src/sync/actor.js';
import { FLUSH_CLOCK } from '../../src/machine/clock.js';
import { auditMachine } from '../../src/audit/index.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { change, findings, Fixture, invariants, ofInvariant, only, pageVa } from './fixture.js';

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

describe('counts', () => {
  test('I1: a table that somebody maps writable is held as two types, and both holders are named', () => {
    x.entry('f0', 5, entryLo(x.mfn('f1'), 0x67));
    expect(only('I1')).toEqual({
      invariant: 'I1',
      detail: `${x.at('f1')} of d0: l2, yet 1 hold it as writable`,
      holders: [`d0 L1 ${x.at('f0')}[5] rw`, 'allocation of d0', 'pin as l2', `d0 L2 ${x.at('f4')}[1] ro`],
      severity: 'broken',
    });
  });

  test('I3: a pin of a table that is not valid, and references that no owner answers for', () => {
    change(fr.typeInfo(x.mfn('f4')), (w) => w & ~fr.PGT_validated);
    expect(only('I3').detail).toBe(`${x.at('f4')} is pinned, but not validated`);
    change(fr.typeInfo(x.mfn('f4')), (w) => w | fr.PGT_validated);
    change(fr.ownerWord(x.mfn('f9')), (w) => fr.withOwner(w, fr.NO_OWNER));
    expect(ofInvariant('I3').map((v) => v.detail)).toEqual([
      `${x.at('f9')} has 1 references and no owner`,
      expect.stringMatching(/^d2 counts \d+ pages and owns \d+$/),
    ]);
  });

  test('I3: an allocation or a type without a reference, a free frame with one', () => {
    change(fr.countInfo(x.mfn('f9')), (w) => w - 1);
    change(fr.countInfo(x.mfn('f5')), (w) => w & ~(fr.PGC_count_mask | fr.PGC_allocated));
    expect(ofInvariant('I3').map((v) => v.detail)).toEqual([
      `${x.at('f5')} is writable with no reference`,
      `${x.at('f9')} is allocated with no reference`,
    ]);
    change(fr.countInfo(x.mfn('f10')), (w) => w | fr.PGC_state_free);
    expect(ofInvariant('I3').map((v) => v.detail)).toContain(`${x.at('f10')} is free with 1 references, owner d2`);
  });

  test('I3: a domain whose totals are not the frames it owns', () => {
    change(domain.totPages(x.dom(1)), (n) => n + 1);
    change(domain.xenheapPages(x.dom(2)), (n) => n - 1);
    expect(ofInvariant('I3').map((v) => v.detail)).toEqual([
      expect.stringMatching(/^d1 counts \d+ pages and owns \d+$/),
      expect.stringMatching(/^d2 counts \d+ pages of xen and owns \d+$/),
    ]);
  });

  test('I4: a partial table that is validated or shared, a claim that nobody finishes, a page lock that nobody holds', () => {
    const info = fr.typeInfo(x.mfn('f1'));
    const before = peek(info);
    poke(info, before | fr.PGT_partial);
    expect(only('I4').detail).toBe(`${x.at('f1')} is both partial and validated`);
    poke(info, (before & ~fr.PGT_validated) | fr.PGT_partial);
    expect(only('I4').detail).toBe(`${x.at('f1')} is partial with type count 2`);
    poke(info, before & ~fr.PGT_validated);
    expect(only('I4').detail).toBe(`${x.at('f1')} is claimed as l2 and was never validated`);
    poke(info, before);
    change(fr.countInfo(x.mfn('f1')), (w) => w | fr.PGT_locked);
    expect(only('I4').detail).toBe(`${x.at('f1')} is page-locked, held by 0`);
  });

  test("I4: a page lock is one vCPU's, and holds a type reference for it", () => {
    const info = fr.typeInfo(x.mfn('f1'));
    change(fr.countInfo(x.mfn('f1')), (w) => w | fr.PGT_locked);
    poke(info, peek(info) + 1);
    poke(vcpu.lockedPage(x.cpu(0)), x.mfn('f1') + 1);
    expect(findings()).toEqual([]);
    poke(vcpu.lockedPage(x.cpu(2)), x.mfn('f1') + 1);
    expect(only('I4').holders).toEqual(['d0v0', 'd2v0']);
    expect(only('I6').holders).toContain('d2v0 page lock');
  });

  test('I5: a reference count above or below its holders, who are all named', () => {
    for (const by of [1, -1]) {
      change(fr.countInfo(x.mfn('f5')), (w) => w + by);
      expect(findings()).toEqual([`I5 ${x.at('f5')} of d1: reference count ${String(2 + by)}, holders hold 2`]);
      expect(only('I5').holders).toEqual([`d2 L1 ${x.at('d2.SL1')}[100] rw`, 'allocation of d1']);
      change(fr.countInfo(x.mfn('f5')), (w) => w - by);
    }
  });

  test('I5: base pointers, pins, tables and device mappings are holders', () => {
    for (const f of ['d2.CR3', 'd2.SL2', 'f6']) change(fr.countInfo(x.mfn(f)), (w) => w + 1);
    const held = new Map(ofInvariant('I5').map((v) => [v.detail.split(' of ')[0], v.holders]));
    expect(held.get(x.at('d2.CR3'))).toEqual(['allocation of d2', 'pin as l4', 'd2v0 kernel base']);
    expect(held.get(x.at('d2.SL2'))).toEqual([`d2 L3 ${x.at('d2.SL3')}[0] rw`, 'allocation of d2']);
    expect(held.get(x.at('f6'))).toEqual([
      `d2 L1 ${x.at('d2.SL1')}[101] ro`,
      'allocation of d1',
      'd2 handle 1 of d1 ref 9 ro, device',
    ]);
  });

  test('I5: what a guest says it keeps a frame for stands beside the holders', () => {
    change(fr.countInfo(x.mfn('f5')), (w) => w + 1);
    const report = {
      domid: 2,
      handles: [],
      frames: [{ mfn: x.mfn('f5'), who: 'page cache of disk 1' }],
      violations: [],
    };
    expect(auditMachine(['I5'], [report])[0]?.holders.at(-1)).toBe('d2 page cache of disk 1');
  });

  test('I6: type counts of writable frames and of tables', () => {
    change(fr.typeInfo(x.mfn('f2')), (w) => w + 1);
    expect(findings()).toEqual([`I6 ${x.at('f2')} of d0: writable count 2, holders hold 1`]);
    change(fr.typeInfo(x.mfn('f2')), (w) => w - 1);
    change(fr.typeInfo(x.mfn('f0')), (w) => w - 1);
    expect(findings()).toEqual([`I6 ${x.at('f0')} of d0: l1 count 1, holders hold 2`]);
    expect(only('I6').holders).toEqual(['allocation of d0', 'pin as l1', `d0 L2 ${x.at('f1')}[0] rw`]);
  });

  test('I7: linear counts of both ends, and a table that is at both', () => {
    const [from, to] = [fr.stampWord(x.mfn('f4')), fr.stampWord(x.mfn('f1'))];
    change(from, (w) => w + fr.LINEAR_ONE);
    change(to, (w) => w + fr.LINEAR_ONE);
    expect(findings()).toEqual([
      `I7 ${x.at('f1')}: linear count 0, found -1`,
      `I7 ${x.at('f4')}: linear count 2, found 1`,
    ]);
    x.entry('f1', 7, entryLo(x.mfn('f4'), 0x25));
    expect(ofInvariant('I7').map((v) => v.detail)).toContain(
      `${x.at('f1')} both links to tables of its level and is linked to`,
    );
  });
});

describe('grants', () => {
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
      detail: `d2 L1 ${x.at('d2.SL1')}[106] names ${x.at('f5')} of d1 without a handle`,
      holders: [`d2 L1 ${x.at('d2.SL1')}[106]`],
    });
    x.entry('d2.SL1', 106, 0);
    x.do({ op: 'update_va', va: 109, dom: 'd1', v: { f: 'f7', fl: '0x67' } });
    expect(findings()).toEqual([]);
  });

  test('I12: the granter sees nobody, yet an entry and a translation reach the frame', () => {
    change(sharedOf(8), (w) => w & ~24);
    const where = `d2 L1 ${x.at('d2.SL1')}[100]`;
    const [entry, translation] = ofInvariant('I12');
    expect(entry?.detail).toBe(`d1 sees nobody at ref 8, yet ${where} maps its frame`);
    expect(entry?.holders).toEqual(['d2 handle 0 of d1 ref 8 rw', where]);
    expect(translation?.holders[0]).toMatch(/^d2v0 TLB va /);
    change(sharedOf(8), (w) => w | 8);
    expect(ofInvariant('I12')[0]?.detail).toContain('sees no writer');
    change(sharedOf(8), (w) => w | 16);
    change(sharedOf(9), (w) => w & ~8);
    expect(only('I12').holders).toEqual(['d2 handle 1 of d1 ref 9 ro', `d2 L1 ${x.at('d2.SL1')}[101]`]);
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
});

describe('translations', () => {
  /** What a forgotten flush would leave: the TLB keys of before. */
  const unflushed = (domid: number, body: () => void): void => {
    const cpu = x.cpu(domid);
    const keys = [vcpu.tlbKey(cpu), vcpu.tlbGlobalKey(cpu)];
    const before = keys.map(peek);
    body();
    keys.forEach((a, i) => {
      poke(a, before[i] ?? 0);
    });
  };
  const va = (page: number): string => `d2v0 TLB va 0x${pageVa(page).toString(16)}`;

  test('I2: a writable translation to a table, unless a flush is pending or its vCPU is dead', () => {
    change(fr.typeInfo(x.mfn('f8')), () => fr.PGT_l1_page_table | fr.PGT_validated | 1);
    expect(only('I2')).toMatchObject({
      detail: `${va(102)} -> ${x.at('f8')} is writable, the frame is l1`,
      holders: [`${va(102)} -> ${x.at('f8')}`],
    });
    poke(actor.request(x.cpu(2)), REQ_FLUSH);
    expect(ofInvariant('I2')).toEqual([]);
    poke(actor.request(x.cpu(2)), 0);
    poke(domain.shuttingDown(x.dom(2)), 1);
    expect(ofInvariant('I2')).toEqual([]);
  });

  test('I2: a frame that a guest turns into a table is flushed first', () => {
    x.do({ op: 'update_va', by: 'd2', va: 102, v: '0x0', flags: 0 });
    expect(findings()).toEqual([]);
    unflushed(2, () => x.do({ op: 'mmuext', by: 'd2', ops: [{ cmd: 'PIN_L1_TABLE', f: 'f8' }] }));
    expect(invariants()).toEqual(['I2']);
  });

  test('I12: a translation that outlives the unmap of its grant', () => {
    unflushed(2, () => x.do({ op: 'gnt_unmap', by: 'd2', unmaps: [{ h: 0, va: 100 }] }));
    expect(findings()).toEqual([`I12 ${va(100)} -> ${x.at('f5')}: d1 sees no writer of the frame`]);
  });

  test('I12: a writable translation that outlives the last writing unmap while readers are left', () => {
    x.do({ op: 'gnt_map', by: 'd2', maps: [{ h: 2, dom: 'd1', ref: 0, flags: 6, va: 103 }] });
    unflushed(2, () => x.do({ op: 'gnt_unmap', by: 'd2', unmaps: [{ h: 0, va: 100 }] }));
    expect(only('I12').detail).toBe(`${va(100)} -> ${x.at('f5')}: d1 sees no writer of the frame`);
  });

  test('I12: of d0, which maps by right, only translations that came by a grant', () => {
    x.do({ op: 'update_va', va: 109, dom: 'd1', v: { f: 'f7', fl: '0x67' } });
    x.do({ op: 'vwrite', va: 109, v: '0x1' });
    x.do({ op: 'update_va', va: 109, v: '0x0', flags: 0 });
    expect(findings()).toEqual([]);
    x.do({ op: 'gnt_write', dom: 'd1', ref: 2, flags: 1, gdom: 'd0', f: 'f7' });
    x.do({ op: 'gnt_map', maps: [{ h: 3, dom: 'd1', ref: 2, flags: 2, va: 110 }] });
    x.do({ op: 'vread', va: 110 });
    unflushed(0, () => x.do({ op: 'gnt_unmap', unmaps: [{ h: 3, va: 110 }] }));
    expect(ofInvariant('I12').map((v) => v.detail)).toContainEqual(
      expect.stringContaining(`-> ${x.at('f7')}: d1 sees no`),
    );
  });

  test('I13: a freed frame may wait for its flush, a frame used again may not', () => {
    x.do({ op: 'update_va', by: 'd2', va: 102, v: '0x0', flags: 0 });
    expect(x.do({ op: 'decrease', by: 'd2', f: ['f8'] }).rc).toBe(1);
    expect(findings()).toEqual([]);
    const clock = peek(FLUSH_CLOCK);
    poke(FLUSH_CLOCK, clock + 5);
    poke(vcpu.flushTime(x.cpu(2)), clock + 5);
    expect(only('I13').detail).toBe(
      `${va(102)} -> ${x.at('f8')}: the frame is free, and no flush is owed before its reuse`,
    );
    change(fr.ownerWord(x.mfn('f8')), () => 0x30001);
    change(fr.countInfo(x.mfn('f8')), () => fr.PGC_allocated | 1);
    expect(ofInvariant('I13').map((v) => v.detail)).toEqual([
      `${va(102)} -> ${x.at('f8')}: the frame is another one since, of d1`,
    ]);
  });

  test('I13: no entry names a free frame, no pin one that was given away', () => {
    change(fr.countInfo(x.mfn('f3')), () => fr.PGC_state_free);
    expect(ofInvariant('I13')).toMatchObject([
      { detail: `d0 L1 ${x.at('f0')}[1] names free ${x.at('f3')}`, holders: [`d0 L1 ${x.at('f0')}[1]`] },
    ]);
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
});
