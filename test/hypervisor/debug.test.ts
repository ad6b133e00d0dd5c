/** What a debug hypervisor does differently, by reference ([X24], [X61]); nothing recorded shows it. */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { mfnWord } from '../../src/abi/frames.js';
import { PAGE_GNTTAB_HI } from '../../src/abi/pte.js';
import { domain } from '../../src/hypervisor/domain.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { pte, put, RO, single, state, type Dom } from './machine.js';
import { recount } from './recount.js';

let d0: Dom;
let l1: Mfn;
let x: Mfn;
function boot(debug: boolean): void {
  d0 = single({ debug });
  [l1, x] = d0.frames(2) as [Mfn, Mfn];
}
/** A grant entry, as the grant code leaves one: with the mark, its reference held. */
function plantGrantEntry(): void {
  expect(d0.set(l1, 0, pte(x, RO))).toBe(0);
  poke(mfnWord(l1) + 1, peek(mfnWord(l1) + 1) | PAGE_GNTTAB_HI);
}

describe('a debug hypervisor', () => {
  beforeEach(() => {
    boot(true);
  });

  it('refuses bit 62 in guests’ L1 entries, in updates and in validation', () => {
    put(l1, 0, pte(x, RO, PAGE_GNTTAB_HI));
    expect(d0.pin(1, l1)).toBe(-EINVAL);
    put(l1, 0, 0);
    expect(d0.pin(1, l1)).toBe(0);
    expect(d0.set(l1, 0, pte(x, RO, PAGE_GNTTAB_HI))).toBe(-EINVAL);
    expect(recount()).toEqual([]);
  });

  it('sends #GP to the current vCPU when a grant entry dies otherwise than by its unmap; the change still happens', () => {
    expect(d0.pin(1, l1)).toBe(0);
    plantGrantEntry();
    expect(d0.set(l1, 0, 0)).toBe(0);
    expect(peek(vcpu.pendingGp(d0.cpu))).toBe(1);
    expect(state(x)).toBe('ref 1 none 0');
    poke(vcpu.pendingGp(d0.cpu), 0);
    plantGrantEntry();
    expect(d0.unpin(l1)).toBe(0);
    expect(peek(vcpu.pendingGp(d0.cpu))).toBe(1);
    expect(recount()).toEqual([]);
  });

  it('does not while the domain is shutting down or dying', () => {
    expect(d0.pin(1, l1)).toBe(0);
    plantGrantEntry();
    poke(domain.shuttingDown(d0.d), 1);
    expect(d0.set(l1, 0, 0)).toBe(0);
    expect(peek(vcpu.pendingGp(d0.cpu))).toBe(0);
  });
});

describe('a release hypervisor', () => {
  it('takes bit 62 for an available bit and says nothing', () => {
    boot(false);
    put(l1, 1, pte(x, RO, PAGE_GNTTAB_HI));
    expect(d0.pin(1, l1)).toBe(0);
    expect(d0.set(l1, 0, pte(x, RO, PAGE_GNTTAB_HI))).toBe(0);
    expect(d0.set(l1, 0, 0)).toBe(0);
    expect(peek(vcpu.pendingGp(d0.cpu))).toBe(0);
    expect(recount()).toEqual([]);
  });
});
