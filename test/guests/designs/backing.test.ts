/** What the pages of kernel mappings get back, whatever the design: balloon, remap, unmap_and_replace. */
import { describe, expect, test } from 'vitest';
import type { Pfn } from '../../../src/abi/frames.js';
import { GNTTABOP_unmap_and_replace, GNTTABOP_unmap_grant_ref } from '../../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op, HYPERVISOR_update_va_mapping } from '../../../src/abi/hypercall.js';
import { peek, run } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { designByName } from '../../../guests/designs/registry.js';
import {
  BACKING_BALLOON,
  BACKING_REMAP,
  BACKING_REPLACE,
  backingNamed,
  backingOf,
} from '../../../guests/drivers/gntdev/backing.js';
import { grantMap, mapCount, pfnOfEntry, entryOf, type GrantMap } from '../../../guests/drivers/gntdev/map.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { directVa } from '../../../guests/kernel/layout.js';
import { P2M_FOREIGN, P2M_INVALID, p2mEntry } from '../../../guests/kernel/p2m.js';
import { kernel } from '../../../guests/kernel/records.js';
import { directEntry } from '../../../guests/kernel/still.js';
import { GNT } from '../process.js';
import { ENDINGS } from './endings.js';
import { audit, broken, grant, mapGrants, openLab, runToEnd, spawn, type Lab } from './lab.js';

const G = 4;
const DESIGNS = [
  'zap-pte',
  'pre-post',
  'private-page',
  'private-flags',
  'private-bitmap',
  'notifier',
  'notifier-async',
];
const BACKINGS = [
  { name: 'balloon', backing: BACKING_BALLOON },
  { name: 'remap', backing: BACKING_REMAP },
  { name: 'replace', backing: BACKING_REPLACE },
];

const pagesOf = (map: GrantMap): Pfn[] => Array.from({ length: mapCount(map) }, (_, i) => pfnOfEntry(entryOf(map, i)));

function* mapped(lab: Lab): Steps<{ refs: number[]; pages: Pfn[] }> {
  const p = yield* spawn(lab, 2);
  const refs = yield* grant(lab, G);
  const map = yield* mapGrants(lab, p, refs, GNT);
  return { refs, pages: pagesOf(map) };
}

describe.each(BACKINGS)('backing by $name', ({ name, backing }) => {
  test.each(DESIGNS)('%s: every page shows afterwards what it showed before', (design) => {
    for (const ending of ['exit', 'part']) {
      run(function* () {
        const lab = yield* openLab(designByName(design)!, { backing });
        expect(backingOf(lab.c).name).toBe(name);
        expect(backingNamed(name)).toBe(backing);
        const p = yield* spawn(lab, 2);
        const refs = yield* grant(lab, G);
        const map = yield* mapGrants(lab, p, refs, GNT);
        const pages = pagesOf(map);
        for (const pfn of pages) expect(p2mEntry(lab.c.k, pfn) & P2M_FOREIGN).not.toBe(0);
        expect(peek(grantMap.live(map))).toBe(2 * G);
        expect(yield* ENDINGS[ending]!(lab, p, G)).toEqual([]);
        expect(peek(kernel.nrFree(lab.c.k))).toBe(lab.free);
        expect(peek(kernel.nrBallooned(lab.c.k))).toBe(lab.ballooned);
        for (const pfn of pages) expect(p2mEntry(lab.c.k, pfn) === P2M_INVALID).toBe(backing === BACKING_BALLOON);
        yield* lab.granter.vcpus[0]!.start();
        for (const ref of refs) expect(yield* endAccess(lab.g, ref)).toBe(true);
      });
    }
  });

  test('early-unpin leaks the user handles under any of them', () => {
    run(function* () {
      const lab = yield* openLab(designByName('early-unpin')!, { backing });
      yield* mapped(lab);
      yield* runToEnd(lab);
      expect(broken(audit(lab))).toEqual(['I10']);
    });
  });

  test('a page that is used again holds what is written to it', () => {
    run(function* () {
      const lab = yield* openLab(designByName('notifier')!, { backing });
      const { pages } = yield* mapped(lab);
      yield* runToEnd(lab);
      if (backing === BACKING_BALLOON) return;
      yield* lab.mapper.vcpus[0]!.start();
      for (const pfn of pages) {
        yield* lab.c.g.store(directVa(pfn), pfn, 7);
        expect(yield* lab.c.g.load(directVa(pfn))).toBe(pfn);
      }
    });
  });
});

describe('how the frame comes back', () => {
  /** What the first kernel page shows in the direct map after each call of the exit that is about it, with the call. */
  function watched(backing: number): { op: string; shows: boolean }[] {
    return run(function* () {
      const lab = yield* openLab(designByName('notifier')!, { backing });
      const { pages } = yield* mapped(lab);
      const pfn = pages[0]!;
      const seen: { op: string; shows: boolean }[] = [];
      lab.mapper.after.push((call) => {
        const op =
          call.nr === HYPERVISOR_grant_table_op
            ? { [GNTTABOP_unmap_grant_ref]: 'unmap', [GNTTABOP_unmap_and_replace]: 'replace' }[call.args[0] ?? -1]
            : call.nr === HYPERVISOR_update_va_mapping
              ? 'map'
              : undefined;
        if (op !== undefined) seen.push({ op, shows: directEntry(lab.c.k, pfn)[0] !== 0 });
      });
      yield* runToEnd(lab);
      return seen;
    });
  }

  test('balloon: unmapped, and nothing comes back', () => {
    expect(watched(BACKING_BALLOON)).toEqual([
      { op: 'unmap', shows: true },
      { op: 'unmap', shows: false },
    ]);
  });

  test('remap: between the unmap and the remap the page shows nothing', () => {
    const seen = watched(BACKING_REMAP);
    expect(seen.slice(0, 3)).toEqual([
      { op: 'unmap', shows: true },
      { op: 'unmap', shows: false },
      { op: 'map', shows: true },
    ]);
    expect(seen).toHaveLength(2 + G);
  });

  test('replace: the frame waits at a scratch address and moves in; the page shows something all the time', () => {
    const seen = watched(BACKING_REPLACE);
    expect(seen.map((x) => x.op)).toEqual(['unmap', ...Array<string>(G).fill('map'), 'replace']);
    expect(seen.every((x) => x.shows)).toBe(true);
  });
});
