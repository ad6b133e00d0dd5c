/** The ledger finds holders without looking at what it is compared with: counts may say anything. */
import { expect, test, vi } from 'vitest';

// What TAPE_MEMORY_MIB says.
vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '96';
});

import { visitHolders } from '../../src/audit/ledger.js';
import { checkCounts } from '../../src/audit/counts.js';
import { takeStock, type Stock } from '../../src/audit/stock.js';
import * as fr from '../../src/machine/frame.js';
import type { Mfn } from '../../src/abi/frames.js';
import { change, findings, Fixture } from './fixture.js';

/** Every holder of every frame, and every link. */
function ledger(stock: Stock): string[] {
  const out: string[] = [];
  const links = visitHolders(stock, (h) => {
    out.push([h.mfn, h.refs, h.type, h.types, h.who()].join(' '));
  });
  for (const [mfn, n] of links.held) out.push(`${String(mfn)} links ${String(n)}`);
  for (const [mfn, n] of links.used) out.push(`${String(mfn)} is linked ${String(n)}`);
  return out;
}

/** Frames that somebody holds. */
const held = (stock: Stock): Mfn[] => {
  const mfns = new Set<Mfn>();
  visitHolders(stock, (h) => mfns.add(h.mfn));
  return [...mfns];
};

/** Another value of the count in a word's low 26 bits, 0 among them. */
const spoil = (word: number, i: number): number => (word & ~fr.PGC_count_mask) | ((i * 7919) % 5);

test('spoiled counts change no holder and no link, and each of them is found', () => {
  const x = new Fixture();
  const before = ledger(takeStock());
  expect(before.length).toBeGreaterThan(100);
  expect(findings()).toEqual([]);
  const frames = held(takeStock());
  frames.forEach((mfn, i) => {
    change(fr.countInfo(mfn), (w) => spoil(w, i));
    change(fr.typeInfo(mfn), (w) => spoil(w, i));
  });
  for (const f of ['f1', 'f4', 'd2.CR3']) change(fr.stampWord(x.mfn(f)), (w) => w ^ (0x15 << 16));
  expect(ledger(takeStock())).toEqual(before);
  const wrong = new Set(checkCounts(takeStock(), []).map((v) => v.invariant));
  for (const id of ['I3', 'I5', 'I6', 'I7']) expect(wrong).toContain(id);
});

test('each single reference too many or too few is one finding, of the frame it was spoiled on', () => {
  new Fixture();
  const frames = held(takeStock()).filter((_, i) => i % 17 === 0);
  expect(frames.length).toBeGreaterThan(5);
  for (const mfn of frames) {
    const at = `mfn 0x${mfn.toString(16)} of`;
    change(fr.countInfo(mfn), (w) => w + 1);
    expect(findings()).toEqual([expect.stringContaining(`I5 ${at}`)]);
    change(fr.countInfo(mfn), (w) => w - 1);
    change(fr.typeInfo(mfn), (w) => w + 1);
    expect(findings()).toEqual([expect.stringContaining(`I6 ${at}`)]);
    change(fr.typeInfo(mfn), (w) => w - 1);
  }
  expect(findings()).toEqual([]);
});
