/**
 * What a teardown benchmark measures: points of a grid, and the machine that a point needs.
 *
 * Invariant: pure. A point's grants are among its pages; its threads and lazy vCPUs fit its vCPUs.
 */
import { LabError } from '../../abi/errors.js';

/** One process whose end is measured. */
export interface Point {
  /** Pages of its own to tear down, granted ones included (program, vdso and stack come on top). */
  readonly pages: number;
  readonly grants: number;
  /** How `grants` was asked for: a number, or a share of the pages. */
  readonly share: string;
  readonly vcpus: number;
  readonly threads: number;
  /** vCPUs that keep its tables loaded although no thread of it runs there. */
  readonly lazy: number;
}

export const RESTORES = ['balloon', 'remap', 'replace'] as const;
export type Restore = (typeof RESTORES)[number];

/** A number of grants: some, or a share of the pages. */
export interface Share {
  readonly text: string;
  readonly of: (pages: number) => number;
}

/** `16` is sixteen grants, `10%` a tenth of the pages; undefined for anything else. */
export function parseShare(text: string): Share | undefined {
  const m = /^([0-9]{1,8}(?:\.[0-9]{1,4})?)(%?)$/.exec(text.trim());
  if (m === null) return undefined;
  const n = Number(m[1]);
  if (m[2] === '%')
    return n > 100 ? undefined : { text: `${String(n)}%`, of: (pages) => Math.round((pages * n) / 100) };
  return Number.isInteger(n) ? { text: String(n), of: () => n } : undefined;
}

export interface Grid {
  readonly pages: readonly number[];
  readonly grants: readonly Share[];
  readonly vcpus: readonly number[];
  readonly threads: readonly number[];
  readonly lazy: number;
}

/** The grid's points, fewest pages first; combinations that do not fit are left out. */
export function pointsOf(g: Grid): Point[] {
  const seen = new Set<string>();
  const points: Point[] = [];
  for (const pages of g.pages) {
    for (const vcpus of g.vcpus) {
      for (const threads of g.threads) {
        for (const share of g.grants) {
          const p = { pages, grants: share.of(pages), share: share.text, vcpus, threads, lazy: g.lazy };
          const key = JSON.stringify({ ...p, share: '' });
          if (p.grants > pages || threads + g.lazy > vcpus || seen.has(key)) continue;
          seen.add(key);
          points.push(p);
        }
      }
    }
  }
  if (points.length === 0) {
    throw new LabError('NO_POINTS', 'no combination of these numbers can be measured', {
      hint: 'a process has at least as many pages as grants, and threads and lazy vCPUs together need as many vCPUs',
    });
  }
  return points.sort((a, b) => a.pages - b.pages || a.vcpus - b.vcpus || a.threads - b.threads || a.grants - b.grants);
}

/** How many grants one granter gives: a grant table has at most 64 frames, some entries are reserved. */
export const PER_GRANTER = 32_000;
export const MAX_GRANTS = 120_000;
export const MAX_PAGES = 200_000;
export const MAPPER = 1;
export const FIRST_GRANTER = 2;

const ENTRIES = 512;
const CHUNK_WORDS = 1024;
const AREA_BYTES_PER_GRANT = 32;
const MAPTRACK_PER_FRAME = 256;
const OWN_PAGES = 512;
export const BYSTANDER_PAGES = 64;

/** Sizes of a domain, as its builder takes them. */
export interface DomainSizes {
  readonly vcpus: number;
  readonly populated: number;
  readonly ballooned: number;
  readonly areaPages: number;
  readonly grantFrames: number;
  readonly maptrackFrames: number;
  /** Chunks of records that a process of this size needs: its grant map, its gathered pages. */
  readonly extraChunks: number;
}

export const granters = (p: Point): number[] =>
  Array.from({ length: Math.ceil(p.grants / PER_GRANTER) }, (_, i) =>
    Math.min(PER_GRANTER, p.grants - i * PER_GRANTER),
  );

export function mapperSizes(p: Point, restore: Restore, bystander: boolean): DomainSizes {
  const areaPages = Math.max(4, Math.ceil((p.grants * AREA_BYTES_PER_GRANT) / 4096));
  const vcpus = p.vcpus + (bystander ? 1 : 0);
  const tables = Math.ceil((2 * p.pages) / ENTRIES) + 64;
  const slots = 2 * (Math.ceil(p.grants / ENTRIES) + 1);
  const backing = restore === 'balloon' ? 0 : p.grants;
  const process = p.pages - p.grants + tables + slots + backing + (bystander ? 2 * BYSTANDER_PAGES : 0);
  const kernel = OWN_PAGES + vcpus * (2 + areaPages) + Math.ceil((4 * p.pages) / ENTRIES);
  return {
    vcpus,
    populated: process + kernel,
    ballooned: 2 * p.grants + 64,
    areaPages,
    grantFrames: 1,
    maptrackFrames: Math.min(1024, Math.ceil((2 * p.grants) / MAPTRACK_PER_FRAME) + 2 * vcpus + 8),
    extraChunks: Math.ceil((8 * p.grants) / CHUNK_WORDS) + Math.ceil(p.pages / 256),
  };
}

export const granterSizes = (grants: number): DomainSizes => ({
  vcpus: 1,
  populated: grants + OWN_PAGES,
  ballooned: 16,
  areaPages: 4,
  grantFrames: Math.ceil((grants + 16) / ENTRIES),
  maptrackFrames: 8,
  extraChunks: 0,
});

/** MiB of a machine on which the point fits: three quarters of it are frames. */
export function machineMib(p: Point, restore: Restore, bystander: boolean): number {
  const mapper = mapperSizes(p, restore, bystander);
  const all = granters(p).map(granterSizes);
  const frames = [mapper, ...all].reduce((n, s) => n + s.populated + s.grantFrames + s.maptrackFrames + 16, 512);
  return Math.min(4096, Math.max(16, Math.ceil((frames * 4) / 3 / 256) + 8));
}
