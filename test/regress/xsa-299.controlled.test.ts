/**
 * XSA-299. The validation of a large table is done in parts, and the table says how far it came: how many entries, and
 * whether the next one is a table that is itself partly done, with a reference or without. Several ways out of such
 * a part forgot, or invented, that reference: when the table was picked up by another vCPU, when the lower table was
 * pinned or dropped meanwhile, when the domain died half-way. Counts too low free pages in use, counts too high never free them.
 *
 * Fixed: each way out says which references are kept, and a resumed part takes over exactly those ([X14], [X15]; XSA-310).
 */
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL, ERESTART } from '../../src/abi/errno.js';
import type { Mfn } from '../../src/abi/frames.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { renewQuantum } from '../../src/hypervisor/preempt.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { PGT_partial, typeInfo } from '../../src/machine/frame.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek } from '../../src/sync/primitives.js';
import { boot, makeDom, on, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { audited, filled, mmuUpdate, pin, pte, RW, stateOf, unpin } from './attack.js';
import { life, schedules, type Body } from './schedules.js';

let d: Dom;
let a: Guest;
let b: Guest;
let l4: Mfn;
let l3: [Mfn, Mfn];
let l2: [Mfn, Mfn];
let l1: Mfn[];
/** An L4 over two L3s, both over the same two L2s, each over three L1s; every hypercall is preempted at every check. */
function build(): void {
  boot({ quantum: 1 });
  d = makeDom({ domid: 1, vcpus: 2, frames: 12 });
  [a, b] = d.cpus as [Guest, Guest];
  const f = d.frames as Mfn[];
  l4 = f[0] as Mfn;
  l3 = [f[1], f[2]] as [Mfn, Mfn];
  l2 = [f[3], f[4]] as [Mfn, Mfn];
  l1 = f.slice(5, 8);
  const data = f[8] as Mfn;
  const under = (below: readonly Mfn[]): Record<number, number> =>
    Object.fromEntries(below.map((m, i) => [i, pte(m, RW)]));
  for (const m of l1) filled(a, m, { 0: pte(data, RW), 7: pte(data, RW) });
  for (const m of l2) filled(a, m, under(l1));
  for (const m of l3) filled(a, m, under(l2));
  filled(a, l4, under(l3));
}
const partial = (): boolean => [l4, ...l3, ...l2].some((m) => (peek(typeInfo(m)) & PGT_partial) !== 0);
const lost = (): boolean => d.cpus.some((c) => peek(vcpu.nLostTables(c.g.cpu)) > 0);
const allFree = (): void => {
  expect(d.frames.map(stateOf)).toEqual(d.frames.map(() => 'ref 1 none 0'));
};
/** What is left pinned is unpinned, twice where an interrupted call was finished only by the next one. */
function release(): void {
  for (const c of [a, b]) for (const m of [l4, ...l3, ...l2, ...l1]) on(c, () => unpin(c, m));
}
let halfDone = 0;
const watch = (): void => {
  if (partial()) halfDone++;
};

test('tables that two vCPUs validate and drop in parts come back with every count right', () => {
  const answers = new Set<number>();
  schedules(
    (): Body[] => {
      build();
      return [
        life(a, function* () {
          for (let n = 0; n < 2; n++) {
            answers.add(yield* pin(a, 4, l4));
            yield* unpin(a, l4);
          }
        }),
        life(b, function* () {
          answers.add(yield* pin(b, 3, l3[1]));
          answers.add(yield* pin(b, 2, l2[0]));
          yield* unpin(b, l3[1]);
          yield* mmuUpdate(
            b,
            { t: l3[0], i: 1, v: 0 },
            { t: l2[0], i: 2, v: 0 },
            { t: l3[0], i: 1, v: pte(l2[1], RW) },
          );
          yield* unpin(b, l2[0]);
        }),
      ];
    },
    () => {
      release();
      audited();
      allFree();
    },
    // Fair schedules only: who waits for the other's part is made to try again, for as long as that one does not go on.
    { switches: 0, walks: 60, priorities: 0 },
    watch,
  );
  expect(answers.has(0)).toBe(true);
  expect(halfDone).toBeGreaterThan(1000);
});

test('so do those whose type is wanted differently while they are half done', () => {
  const answers = new Set<number>();
  schedules(
    (): Body[] => {
      build();
      return [
        life(a, function* () {
          yield* pin(a, 4, l4);
          yield* unpin(a, l4);
        }),
        life(b, function* () {
          // The wrong level: refused, or first come, and then the tree is refused from there on upwards.
          answers.add(yield* pin(b, 1, l2[1]));
          answers.add(yield* pin(b, 2, l3[1]));
          yield* unpin(b, l2[1]);
          yield* unpin(b, l3[1]);
        }),
      ];
    },
    () => {
      release();
      audited();
      // A table lost by a leak of Xen's own, which a recording shows, stays as it is ([X15]).
      if (!lost()) allFree();
    },
    { switches: 0, walks: 40, priorities: 0 },
    watch,
  );
  expect([...answers].sort((x, y) => x - y)).toEqual(expect.arrayContaining([-EINVAL, 0]) as number[]);
});

test('a domain that dies half-way through gives every frame back', () => {
  let parts = 0;
  let met = 0;
  schedules(
    (): Body[] => {
      build();
      return [
        life(a, function* () {
          yield* pin(a, 4, l4);
          yield* unpin(a, l4);
        }),
        function* () {
          for (;;) {
            renewQuantum(CONTROL);
            if (partial()) met++;
            const rc = yield* destroyDomain(CONTROL, d.d);
            if (rc !== -ERESTART) {
              expect(rc).toBe(0);
              return;
            }
            parts++;
          }
        },
      ];
    },
    () => {
      audited();
      expect([l4, ...l3, ...l2, ...l1].map((m) => stateOf(m).slice(0, 5))).toEqual(Array<string>(8).fill('ref 0'));
    },
    { switches: 30, walks: 30, priorities: 20 },
  );
  expect([parts > 200, met > 20]).toEqual([true, true]);
});
