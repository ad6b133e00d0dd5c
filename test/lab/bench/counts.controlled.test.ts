/**
 * What the end of a process makes happen is counted exactly, and today's design makes the calls that were recorded of the
 * real kernel (linux-teardown FORMAT.md, items 2, 5, 6, 9). In one project only: the counting build is the same.
 */
import { afterAll, describe, expect, test } from 'vitest';
import { BenchMachine } from '../../../src/lab/bench/machine.js';
import type { BenchReply, Setting } from '../../../src/lab/bench/messages.js';
import { PER_GRANTER, type Point } from '../../../src/lab/bench/plan.js';

const machine = new BenchMachine(64, 'controlled');
afterAll(async () => {
  await machine.end();
});

const setting = (design: string, p: Partial<Point>): Setting => ({
  design,
  restore: 'balloon',
  bystander: false,
  point: { pages: 64, grants: 0, share: '0', vcpus: 1, threads: 1, lazy: 0, ...p },
});

type Counted = Extract<BenchReply, { kind: 'counted' }>;

async function count(design: string, p: Partial<Point>): Promise<Counted> {
  const reply = await machine.count(setting(design, p));
  if (reply.kind !== 'counted') throw new Error(JSON.stringify(reply));
  return reply;
}

/** Entries of the batches of an unpin, and the hypercalls of a whole exit. */
const entries = ({ nL1, nL2, nL3 }: Counted['shape']): number => 3 + nL3 + nL2 + 2 * nL1;
const calls = (c: Counted, grants: number): number => 1 + Math.ceil(entries(c.shape) / 32) + (grants > 0 ? 2 : 0);

describe("today's design makes the recorded calls", () => {
  test.each([
    { pages: 1, grants: 0, tables: [4, 3, 3] },
    { pages: 512, grants: 0, tables: [4, 3, 3] },
    { pages: 513, grants: 0, tables: [5, 3, 3] },
    { pages: 17, grants: 1, tables: [5, 4, 4] },
    { pages: 80, grants: 64, tables: [5, 4, 4] },
    { pages: 1100, grants: 1000, tables: [6, 4, 4] },
    { pages: 64, grants: 64, tables: [4, 3, 3] },
  ])('$pages pages, $grants of them granted', async ({ pages, grants, tables }) => {
    const c = await count('notifier-async', { pages, grants });
    expect([c.shape.nL1, c.shape.nL2, c.shape.nL3]).toEqual(tables);
    expect(c.counted['hypercalls']).toBe(calls(c, grants));
    expect(c.counted).toMatchObject({ subcalls: entries(c.shape), grantUnmaps: 2 * grants, emulations: 0, ipis: 0 });
    expect(c.leaked).toBe(0);
  });

  test('many batches', async () => {
    const c = await count('notifier-async', { pages: 16 * 512 });
    expect(entries(c.shape)).toBeGreaterThan(32);
    expect(c.counted).toMatchObject({ hypercalls: calls(c, 0), subcalls: entries(c.shape) });
  });

  test('a vCPU that kept the tables is interrupted and makes one call to leave them (item 22)', async () => {
    const alone = await count('notifier-async', { pages: 64, vcpus: 3 });
    const lazy = await count('notifier-async', { pages: 64, vcpus: 3, lazy: 2 });
    expect(lazy.counted['ipis']).toBe(2);
    expect(lazy.counted['hypercalls']).toBe((alone.counted['hypercalls'] ?? 0) + 2);
  });
});

describe('counts', () => {
  test('are the same every time, with one vCPU and with several', async () => {
    for (const p of [{ grants: 10 }, { grants: 10, vcpus: 4, threads: 2, lazy: 1 }]) {
      const first = await count('private-page', p);
      expect(await count('private-page', p)).toEqual(first);
    }
  });

  test.each([
    ['zap-pte', 0, 0],
    ['pre-post', 0, 0],
    ['private-page', 4096, 0],
    ['private-tuples', 8192, 0],
    ['private-flags', 4096, 0],
    ['early-unpin', 0, 10],
  ])('%s remembers a grant in %i bytes, and leaves %i mappings behind', async (design, bytes, leaked) => {
    const c = await count(design, { grants: 10 });
    expect(c.shape.stateBytes).toBe(bytes);
    expect(c.leaked).toBe(leaked);
  });

  test('a design that leaks is counted although nothing is left for a second round', async () => {
    const c = await count('early-unpin', { pages: 4096, grants: 4096 });
    expect(c.leaked).toBe(4096);
    expect(c.counted['grantUnmaps']).toBe(4096);
  });

  test('one foreign page makes every page of a hook design trap', async () => {
    const without = await count('pre-post', { pages: 64 });
    const one = await count('pre-post', { pages: 64, grants: 1 });
    expect(without.counted['emulations']).toBe(0);
    expect(one.counted['emulations']).toBeGreaterThanOrEqual(63);
  });

  test('a design that needs one PTE lock gets a kernel with one', async () => {
    expect((await count('private-union', { grants: 10 })).counted['emulations']).toBe(0);
  });

  test('a design that is not there, and a machine that is too small, are answers', async () => {
    expect(await machine.count(setting('none', {}))).toMatchObject({ kind: 'refused' });
    const huge = await machine.count(setting('notifier', { pages: PER_GRANTER }));
    expect(huge.kind).toBe('failed');
    expect(await count('notifier', {})).toMatchObject({ kind: 'counted' });
  });
});
