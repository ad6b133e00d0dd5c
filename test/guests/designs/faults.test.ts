/** A grant unmap that Xen refuses, once or for good, under each design (section 5, "user unmap fails", "kernel unmap fails"). */
import { describe, expect, test } from 'vitest';
import { GNTST_eagain, GNTST_general_error } from '../../../src/abi/grant.js';
import { faultCounts, faultInit, faultPlan, FAULT_WORDS, type FaultRule } from '../../../src/fault/plan.js';
import { globals } from '../../../src/hypervisor/globals.js';
import { arenaAlloc, CHUNK } from '../../../src/shm/arena.js';
import { CONTROL } from '../../../src/sync/actor.js';
import { peek, run } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { designByName } from '../../../guests/designs/registry.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { counted, warned } from '../../../guests/kernel/count.js';
import { COUNT, WARN } from '../../../guests/kernel/counters.js';
import { kernel } from '../../../guests/kernel/records.js';
import { reportOf } from '../../../guests/report.js';
import { GNT } from '../process.js';
import { ENDINGS } from './endings.js';
import { grant, mapGrants, openLab, spawn, type Lab } from './lab.js';

const G = 3;
const status = GNTST_general_error;

interface Result {
  readonly lab: Lab;
  readonly found: string[];
  /** Grants that the granter cannot revoke. */
  readonly busy: number;
}

function withFault(name: string, ending: string, rule: FaultRule, splitPteLocks = true): Result {
  return run(function* () {
    const lab = yield* openLab(designByName(name)!, { splitPteLocks });
    faultInit(yield* arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(FAULT_WORDS / CHUNK)));
    const p = yield* spawn(lab, 5);
    const refs = yield* grant(lab, G);
    yield* mapGrants(lab, p, refs, GNT);
    faultPlan('gnttab.unmap', rule);
    const found = yield* ENDINGS[ending]!(lab, p, G);
    expect(faultCounts('gnttab.unmap').hits).toBeGreaterThan(0);
    return { lab, found, busy: yield* stillBusy(lab, refs) };
  });
}

function* stillBusy(lab: Lab, refs: readonly number[]): Steps<number> {
  let n = 0;
  yield* lab.granter.vcpus[0]!.start();
  for (const ref of refs) if (!(yield* endAccess(lab.g, ref))) n++;
  return n;
}

const DRIVEN_BY_CLEARS = ['zap-pte', 'pre-post'];
const COPING = ['notifier-coping', 'notifier-split'];
const BY_SLOTS = ['private-page', 'private-tuples', 'private-bitmap'];
const KEEPING = [...DRIVEN_BY_CLEARS, ...BY_SLOTS];

describe.each(['exit', 'munmap'])('%s', (ending) => {
  test.each(KEEPING.flatMap((n) => [1, 2, 3].map((nth) => ({ n, nth }))))(
    '$n: user unmap $nth is refused once: the table waits for it, then everything goes',
    ({ n, nth }) => {
      const { lab, found, busy } = withFault(n, ending, {
        status,
        nth: n === 'zap-pte' || n === 'pre-post' ? 2 * nth - 1 : nth,
      });
      expect({ found, busy }).toEqual({ found: [], busy: 0 });
      expect(warned(lab.c.k, WARN.grantUnmap)).toBe(1);
      expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
      expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
    },
  );

  test.each(KEEPING)('%s: all are refused for good: entries, handles and their table stay together', (n) => {
    const { lab, found, busy } = withFault(n, ending, { status });
    expect({ found, busy }).toEqual({ found: ['I17'], busy: G });
    expect(warned(lab.c.k, WARN.designState)).toBe(1);
    expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned - G);
  });

  test.each(['notifier', 'notifier-async'])('%s: a refused handle is forgotten: a leak', (n) => {
    const { lab, found, busy } = withFault(n, ending, { status, nth: 2 });
    expect({ found, busy }).toEqual({ found: ['I10'], busy: 1 });
    expect(counted(lab.c.k, COUNT.grantsForgotten)).toBe(1);
  });
});

test.each(BY_SLOTS)('%s without split PTE locks: the table gets a pin of its own until the entry goes', (n) => {
  const once = withFault(n, 'exit', { status, nth: 1 }, false);
  expect({ found: once.found, busy: once.busy }).toEqual({ found: [], busy: 0 });
  expect(peek(kernel.nrFree(once.lab.c.k))).toBe(once.lab.free);
  const always = withFault(n, 'exit', { status }, false);
  expect({ found: always.found, busy: always.busy }).toEqual({ found: ['I17'], busy: G });
});

describe.each(['exit', 'kill', 'munmap', 'part', 'fork', 'dontneed'])('%s with one of three refused once', (ending) => {
  test.each([...KEEPING, ...COPING].flatMap((n) => [1, 2, 3, 4, 5, 6].map((nth) => ({ n, nth }))))(
    '$n, unmap $nth: everything comes back',
    ({ n, nth }) => {
      const { lab, found, busy } = withFault(n, ending, { status: GNTST_eagain, nth });
      expect({ found, busy }).toEqual({ found: [], busy: 0 });
      expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
      expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
      expect(reportOf(lab.c.k, lab.c.design).handles).toEqual([]);
    },
  );
});

test.each(COPING)(
  '%s: refused for good: entries, handles and their table stay together, nobody tries for ever',
  (n) => {
    const { lab, found, busy } = withFault(n, 'exit', { status });
    expect({ found, busy }).toEqual({ found: ['I17'], busy: G });
    expect(reportOf(lab.c.k, lab.c.design).handles.map((h) => h.willRelease)).toEqual(Array(2 * G).fill(false));
    expect(warned(lab.c.k, WARN.grantUnmap)).toBeLessThan(100);
  },
);

test.each(['mmuext.unpin', 'update_va_mapping'] as const)(
  '%s refused during the exit: asked again, no page is lost',
  (site) => {
    for (const name of [...KEEPING, ...COPING, 'notifier']) {
      for (let nth = 1; nth <= 4; nth++) {
        run(function* () {
          const lab = yield* openLab(designByName(name)!, {});
          faultInit(yield* arenaAlloc(CONTROL, peek(globals.arena), Math.ceil(FAULT_WORDS / CHUNK)));
          const p = yield* spawn(lab, 5);
          yield* mapGrants(lab, p, yield* grant(lab, G), GNT);
          faultPlan(site, { status: -22, nth });
          expect([name, nth, yield* ENDINGS['exit']!(lab, p, G)]).toEqual([name, nth, []]);
          expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
          expect(faultCounts(site).hits).toBe(1);
        });
      }
    }
  },
);

describe('the kernel mapping is refused after the user entry went', () => {
  test.each(BY_SLOTS)('%s: tried again with the last reference of the map', (n) => {
    const { lab, found, busy } = withFault(n, 'exit', { status, nth: G + 1 });
    expect({ found, busy }).toEqual({ found: [], busy: 0 });
    expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
  });

  test.each([...BY_SLOTS, 'notifier', 'notifier-async', 'notifier-coping', 'notifier-split'])(
    '%s: for good: the pages are never used again',
    (n) => {
      const { lab, found, busy } = withFault(n, 'exit', { status, after: G });
      expect({ found, busy }).toEqual({ found: [], busy: G });
      expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned - G);
      // Merged code gives the handles up and the pages with them; the others keep both, and say so.
      const merged = n === 'notifier' || n === 'notifier-async';
      expect(counted(lab.c.k, COUNT.pagesLost)).toBe(merged ? G : 0);
      const known = reportOf(lab.c.k, lab.c.design).handles;
      expect(known.map((h) => h.willRelease)).toEqual(merged ? [] : Array(G).fill(false));
    },
  );

  test('zap-pte: one of them is refused once', () => {
    const { lab, found, busy } = withFault('zap-pte', 'exit', { status, nth: 2 });
    expect({ found, busy }).toEqual({ found: [], busy: 0 });
    expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
  });
});
