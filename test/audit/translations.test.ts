/** I2, I12, I13: translations that should have been flushed, and entries of frames that were given away, are found. */
import { beforeEach, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { domain } from '../../src/hypervisor/domain.js';
import { FLUSH_CLOCK } from '../../src/machine/clock.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as fr from '../../src/machine/frame.js';
import { actor, REQ_FLUSH } from '../../src/sync/actor.js';
import { peek, peekDouble, poke, pokeDouble } from '../../src/sync/primitives.js';
import { change, findings, Fixture, invariants, ofInvariant, only, pageVa } from './fixture.js';

let x: Fixture;
beforeEach(() => {
  x = new Fixture();
  expect(findings()).toEqual([]);
});

/** What a forgotten flush would leave: the TLB keys of before. */
const unflushed = (domid: number, body: () => void): void => {
  const cpu = x.cpu(domid);
  const keys = [vcpu.tlbKey(cpu), vcpu.tlbGlobalKey(cpu)];
  const before = keys.map(peekDouble);
  body();
  keys.forEach((a, i) => {
    pokeDouble(a, before[i] ?? 0);
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
    { detail: `d0 L1 ${x.at('f0')}[1] ro names free ${x.at('f3')}`, holders: [`d0 L1 ${x.at('f0')}[1] ro`] },
  ]);
});
