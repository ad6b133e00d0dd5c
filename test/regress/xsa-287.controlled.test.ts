/**
 * XSA-287. To give a frame away, the hypervisor checks that nobody but its owner's allocation refers to it and takes it from
 * its owner. Check and taking were not one step: another CPU could get a reference in between, for the old owner, and keep it when
 * the frame was another domain's already; and the owner's totals went wrong. The attack: transfer a page to an accomplice while another
 * vCPU maps it.
 *
 * Fixed: reference and allocation are exchanged for nothing in one atomic step, which fails if anybody else holds one; the mapping
 * or the transfer succeeds, never both ([X2], [X58]).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import type { Mfn } from '../../src/abi/frames.js';
import { GNTST_bad_page, GNTST_okay, GTF_accept_transfer } from '../../src/abi/grant.js';
import { domain } from '../../src/hypervisor/domain.js';
import { ownerOf, ownerWord } from '../../src/machine/frame.js';
import { peek } from '../../src/sync/primitives.js';
import { boot, grant, makeDom, slotVa, transferOp, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, pte, RW, stateOf, updateVa } from './attack.js';
import { life, schedules } from './schedules.js';

const REF = 8;

test('a page is mapped by its owner or given away, never both', () => {
  let giver: Dom;
  let taker: Dom;
  let frame: Mfn;
  let status: number;
  let mapped: number;
  let before: number[];
  const pages = (): number[] => [giver, taker].map((d) => peek(domain.totPages(d.d)));
  const ends = { given: 0, mapped: 0 };
  schedules(
    () => {
      boot();
      giver = makeDom({ domid: 1, vcpus: 2 });
      taker = makeDom({ domid: 2 });
      const [a, b] = giver.cpus as [Guest, Guest];
      frame = giver.frames[0] as Mfn;
      grant(taker, REF, 1, 0, GTF_accept_transfer);
      before = pages();
      return [
        life(a, function* () {
          status = yield* transferOp(a, frame, 2, REF);
        }),
        life(b, function* () {
          mapped = yield* updateVa(b, slotVa(0), pte(frame, RW));
        }),
      ];
    },
    () => {
      const [give = 0, take = 0] = before;
      const given = status === GNTST_okay;
      expect(given || status === GNTST_bad_page).toBe(true);
      expect(given && mapped === 0).toBe(false);
      expect(ownerOf(peek(ownerWord(frame)))).toBe(given ? 2 : 1);
      expect(stateOf(frame)).toBe(mapped === 0 ? 'ref 2 writable 1' : 'ref 1 none 0');
      expect(pages()).toEqual(given ? [give - 1, take + 1] : [give, take]);
      if (given) ends.given++;
      else ends.mapped += mapped === 0 ? 1 : 0;
      audited();
    },
  );
  expect([ends.given > 20, ends.mapped > 20]).toEqual([true, true]);
});
