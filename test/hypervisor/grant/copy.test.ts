/** Copies: every byte and no other, whatever the alignment; through parts of pages and other domains' grants. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { DOMID_SELF, mfnWord } from '../../../src/abi/frames.js';
import * as gnt from '../../../src/abi/grant.js';
import { grantTable } from '../../../src/hypervisor/grant/table.js';
import { countInfo, PGC_count_mask, PGT_count_mask, typeInfo } from '../../../src/machine/frame.js';
import { words } from '../../../src/ops/memory.js';
import { peek, poke } from '../../../src/sync/primitives.js';
import { boot, copyOp, grant, makeDom, on, setVersion, type CopyOp, type Dom } from './lab.js';
import { claimsOf, entryWord, pinOf } from './tables.js';

let a: Dom;
let b: Dom;
let c: Dom;
const bytes = new Uint8Array(words.buffer);
const pageOf = (mfn: number): Uint8Array => bytes.subarray(mfn * 4096, mfn * 4096 + 4096);

beforeEach(() => {
  boot();
  a = makeDom({ domid: 1 });
  b = makeDom({ domid: 2 });
  c = makeDom({ domid: 3 });
});

const copy = (...ops: CopyOp[]): number[] => on(b.cpus[0]!, () => copyOp(b.cpus[0]!, ops));

/** A version 2 entry of `d`: header, then three words. */
function grant2(d: Dom, ref: number, to: number, flags: number, second: number, lo: number): void {
  const at = entryWord(d.gt, ref);
  poke(at + 1, second);
  poke(at + 2, lo);
  poke(at + 3, 0);
  poke(at, flags | (to << 16));
}

function nothingHeld(d: Dom, ref: number): void {
  expect([pinOf(d.gt, ref), claimsOf(d.gt, ref), peek(grantTable.nrV2Ops(d.gt))]).toEqual([0, 0, 0]);
  for (const mfn of d.frames) {
    expect([peek(countInfo(mfn)) & PGC_count_mask, peek(typeInfo(mfn)) & PGT_count_mask]).toEqual([1, 0]);
  }
}

describe('a copy', () => {
  it('moves every byte of its range and no other, at any alignment', () => {
    grant(a, 8, 2, a.frames[0]!);
    fc.assert(
      fc.property(fc.nat(4096), fc.nat(4096), fc.nat(4096), fc.nat(255), (from, to, length, seed) => {
        const n = Math.min(length, 4096 - from, 4096 - to);
        const source = pageOf(a.frames[0]!);
        const target = pageOf(b.frames[0]!);
        for (let i = 0; i < 4096; i++) {
          source[i] = (i * 7 + seed) & 255;
          target[i] = (i * 13 + 1) & 255;
        }
        const want = Uint8Array.from(target);
        want.set(source.subarray(from, from + n), to);
        const op = {
          source: { dom: 1, ref: 8, offset: from },
          dest: { dom: DOMID_SELF, mfn: b.frames[0]!, offset: to },
        };
        expect(copy({ ...op, length: n })).toEqual([gnt.GNTST_okay]);
        expect(Buffer.compare(Buffer.from(target), Buffer.from(want))).toBe(0);
      }),
      { numRuns: 100 },
    );
    nothingHeld(a, 8);
  });

  it('answers each operation of a batch and holds nothing afterwards', () => {
    grant(a, 8, 2, a.frames[0]!);
    grant(a, 9, 2, a.frames[1]!, gnt.GTF_permit_access | gnt.GTF_readonly);
    const mine = { dom: DOMID_SELF, mfn: b.frames[0]!, offset: 0 };
    const statuses = copy(
      { source: { dom: 1, ref: 8, offset: 0 }, dest: mine, length: 16 },
      { source: { dom: 1, ref: 8, offset: 8 }, dest: mine, length: 16 },
      { source: mine, dest: { dom: 1, ref: 9, offset: 0 }, length: 16 },
      { source: { dom: 1, ref: 8, offset: 4090 }, dest: mine, length: 16 },
      { source: mine, dest: { dom: 1, ref: 8, offset: 0 }, length: 16 },
      { source: { dom: 7, ref: 8, offset: 0 }, dest: mine, length: 16 },
      { source: { dom: 2, mfn: b.frames[0]!, offset: 0 }, dest: mine, length: 16 },
    );
    expect(statuses).toEqual([
      gnt.GNTST_okay,
      gnt.GNTST_okay,
      gnt.GNTST_general_error,
      gnt.GNTST_bad_copy_arg,
      gnt.GNTST_okay,
      gnt.GNTST_bad_domain,
      gnt.GNTST_permission_denied,
    ]);
    nothingHeld(a, 8);
    nothingHeld(a, 9);
    nothingHeld(b, 8);
  });

  it('is kept to the part of the page that was granted', () => {
    expect(setVersion(a, 2)).toBe(0);
    grant2(a, 8, 2, gnt.GTF_permit_access | gnt.GTF_sub_page, 100 | (50 << 16), a.frames[0]!);
    const mine = { dom: DOMID_SELF, mfn: b.frames[0]!, offset: 0 };
    const part = (offset: number, length: number): number =>
      copy({ source: { dom: 1, ref: 8, offset }, dest: mine, length })[0]!;
    expect([part(100, 50), part(149, 1), part(99, 2), part(140, 11), part(150, 0)]).toEqual([0, 0, -1, -1, 0]);
    nothingHeld(a, 8);
  });

  it('goes through one domain’s grant to another’s, and through no second', () => {
    expect([setVersion(a, 2), setVersion(c, 2)]).toEqual([0, 0]);
    pageOf(c.frames[0]!).set([1, 2, 3, 4]);
    grant2(c, 9, 1, gnt.GTF_permit_access, 0, c.frames[0]!);
    grant2(a, 8, 2, gnt.GTF_transitive, 3, 9);
    const mine = { dom: DOMID_SELF, mfn: b.frames[0]!, offset: 0 };
    const through = (): number => copy({ source: { dom: 1, ref: 8, offset: 0 }, dest: mine, length: 4 })[0]!;
    expect(through()).toBe(gnt.GNTST_okay);
    expect([...pageOf(b.frames[0]!).subarray(0, 4)]).toEqual([1, 2, 3, 4]);
    nothingHeld(a, 8);
    nothingHeld(c, 9);
    // The grant behind is itself transitive, is for somebody else, is not there, leads back.
    grant2(c, 9, 1, gnt.GTF_transitive, 2, 8);
    expect(through()).toBe(gnt.GNTST_general_error);
    grant2(c, 9, 2, gnt.GTF_permit_access, 0, c.frames[0]!);
    expect(through()).toBe(gnt.GNTST_general_error);
    grant2(a, 8, 2, gnt.GTF_transitive, 3, 5000);
    expect(through()).toBe(gnt.GNTST_bad_gntref);
    grant2(a, 8, 2, gnt.GTF_transitive, 1, 9);
    expect(through()).toBe(gnt.GNTST_general_error);
    grant2(a, 8, 2, gnt.GTF_transitive, 9, 9);
    expect(through()).toBe(gnt.GNTST_general_error);
    nothingHeld(a, 8);
    nothingHeld(c, 9);
  });

  it('does not write to a frame that is a page table', () => {
    grant(a, 8, 2, a.l1);
    const mine = { dom: DOMID_SELF, mfn: b.frames[0]!, offset: 0 };
    expect(copy({ source: mine, dest: { dom: 1, ref: 8, offset: 0 }, length: 8 })).toEqual([gnt.GNTST_general_error]);
    expect(copy({ source: { dom: 1, ref: 8, offset: 0 }, dest: mine, length: 8 })).toEqual([gnt.GNTST_okay]);
    expect(peek(mfnWord(a.l1))).toBe(0);
    nothingHeld(a, 8);
  });
});
