/** What is audited after guests did what they liked: the hypervisor's own invariants, each of them, and no guest's fault. */
import { beforeEach, expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { entryLo } from '../../src/abi/pte.js';
import { auditHypervisor } from '../../src/audit/index.js';
import { domain } from '../../src/hypervisor/domain.js';
import { active, type Active } from '../../src/hypervisor/grant/active.js';
import { freeList, freeListOf } from '../../src/hypervisor/grant/maptrack.js';
import { ACTIVE_WORDS, grantTable } from '../../src/hypervisor/grant/table.js';
import * as fr from '../../src/machine/frame.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { change, Fixture } from './fixture.js';

let x: Fixture;
beforeEach(() => {
  x = new Fixture();
  expect(auditHypervisor()).toEqual([]);
});
const pinOf = (ref: number): number =>
  active.pin((peek(peek(grantTable.activeList(x.table(1)))) + ref * ACTIVE_WORDS) as Active);
const sharedOf = (ref: number): number => peek(peek(grantTable.sharedList(x.table(1)))) * 1024 + ref * 2;

test.each<[string, () => void]>([
  ['I2', () => change(fr.typeInfo(x.mfn('f8')), (w) => (w & ~fr.PGT_type_mask) | fr.PGT_l1_page_table)],
  ['I3', () => change(domain.totPages(x.dom(1)), (n) => n + 1)],
  ['I4', () => change(fr.countInfo(x.mfn('f0')), (w) => w | fr.PGT_locked)],
  ['I5', () => change(fr.countInfo(x.mfn('f9')), (w) => w + 1)],
  ['I6', () => change(fr.typeInfo(x.mfn('f9')), (w) => (w | fr.PGT_writable_page) + 1)],
  ['I7', () => change(fr.stampWord(x.mfn('f4')), (w) => w + fr.LINEAR_ONE)],
  ['I8', () => change(pinOf(8), (w) => w + 1)],
  ['I13', () => void x.entry('f0', 9, entryLo(lastFree(), 0x25))],
  ['I14', () => poke(freeList.tail(freeListOf(x.table(2), 0)), 5)],
])('finds %s', (invariant, spoil) => {
  spoil();
  expect(auditHypervisor().map((v) => v.invariant)).toContain(invariant);
});

/** A frame of the heap's. */
function lastFree(): ReturnType<Fixture['mfn']> {
  for (let m = x.mfn('f10'); ; m++) {
    const mfn = m;
    if ((peek(fr.countInfo(mfn)) & fr.PGC_state) === fr.PGC_state_free) return mfn;
  }
}

test('does not blame itself for bits that a guest overwrote', () => {
  change(sharedOf(8), (w) => w & ~24);
  expect(auditHypervisor()).toEqual([]);
});
