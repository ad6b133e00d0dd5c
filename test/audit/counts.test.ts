/** I1 and I3 to I7: what is spoiled by hand in frames is found under its name, with those who hold the frame. */
import { beforeEach, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { entryLo } from '../../src/abi/pte.js';
import { auditMachine } from '../../src/audit/index.js';
import { domain } from '../../src/hypervisor/domain.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as fr from '../../src/machine/frame.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { change, findings, Fixture, ofInvariant, only } from './fixture.js';

let x: Fixture;
beforeEach(() => {
  x = new Fixture();
  expect(findings()).toEqual([]);
});

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
