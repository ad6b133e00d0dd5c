/** Every design against every ending, then the audit: who leaks, and what the rest gets back. */
import { describe, expect, test } from 'vitest';
import { peek, run } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import type { TeardownDesign } from '../../../guests/designs/design.js';
import { DESIGNS } from '../../../guests/designs/registry.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { warned } from '../../../guests/kernel/count.js';
import { WARN } from '../../../guests/kernel/counters.js';
import { EXIT_6_1, kernel } from '../../../guests/kernel/records.js';
import { GNT } from '../process.js';
import { ENDINGS } from './endings.js';
import { grant, mapGrants, openLab, spawn, type Lab } from './lab.js';

const ALL = Object.keys(ENDINGS);
const GRANTS = 3;
const LEAK = ['I10'];
const LEAK_AND_TABLE = ['I10', 'I17'];

/** Invariants that each design breaks, by ending; endings that are not named are clean. */
const BREAKS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  'early-unpin': Object.fromEntries(ALL.map((e) => [e, LEAK])),
  'zap-pte-unpinned-buggy': {
    exit: LEAK_AND_TABLE,
    kill: LEAK_AND_TABLE,
    close: LEAK_AND_TABLE,
    fork: LEAK_AND_TABLE,
    part: LEAK_AND_TABLE,
  },
  'kernel-handle-buggy': Object.fromEntries(ALL.map((e) => [e, ['I18']])),
  'pre-post-late-buggy': {
    exit: LEAK_AND_TABLE,
    kill: LEAK_AND_TABLE,
    close: LEAK_AND_TABLE,
    fork: LEAK_AND_TABLE,
  },
  'private-zero-buggy': { ...Object.fromEntries(ALL.map((e) => [e, LEAK])), part: ['I10', 'I16'] },
  'private-l4-first-buggy': {
    exit: LEAK_AND_TABLE,
    kill: LEAK_AND_TABLE,
    close: LEAK_AND_TABLE,
    fork: LEAK_AND_TABLE,
    part: LEAK_AND_TABLE,
  },
  'private-bypass-buggy': Object.fromEntries(
    ['munmap', 'part', 'dontneed', 'mremap'].map((e) => [e, ['I10', 'I16', 'I17']]),
  ),
};

const options = (d: TeardownDesign): { splitPteLocks: boolean } => ({
  splitPteLocks: d.refuses({ splitPteLocks: true, exitOrder: EXIT_6_1 }) === '',
});

/** Everything a mapper borrowed is back: pages, frames, and the granter's right to its pages. */
function* allBack(lab: Lab, refs: readonly number[]): Steps<void> {
  expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
  expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
  yield* lab.granter.vcpus[0]!.start();
  for (const ref of refs) expect(yield* endAccess(lab.g, ref)).toBe(true);
}

function noWarnings(lab: Lab, but: number = -1): void {
  for (const [name, kind] of Object.entries(WARN)) {
    if (kind !== but) expect([name, warned(lab.c.k, kind)]).toEqual([name, 0]);
  }
}

describe.each(DESIGNS)('$name', (design) => {
  test.each(ALL)('%s, with grants', (name) => {
    run(function* () {
      const lab = yield* openLab(design, options(design));
      const p = yield* spawn(lab, 5);
      const refs = yield* grant(lab, GRANTS);
      yield* mapGrants(lab, p, refs, GNT);
      const found = yield* ENDINGS[name]!(lab, p, GRANTS);
      expect(found).toEqual(BREAKS[design.name]?.[name] ?? []);
      if (BREAKS[design.name] !== undefined) return;
      yield* allBack(lab, refs);
      // Without a notifier the move finds granted entries, which must not be moved, and says so.
      noWarnings(lab, name === 'mremap' && !design.usesNotifier ? WARN.setPte : -1);
    });
  });

  test.each(['exit', 'kill', 'fork'])('%s, without grants', (name) => {
    run(function* () {
      const lab = yield* openLab(design, options(design));
      const p = yield* spawn(lab, 20);
      expect(yield* ENDINGS[name]!(lab, p, 0)).toEqual([]);
      yield* allBack(lab, []);
      noWarnings(lab);
    });
  });
});
