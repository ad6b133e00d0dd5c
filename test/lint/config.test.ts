/** The lint configuration puts each rule on its rooms: the real config, asked about files that need not exist. */
import { ESLint, type Linter } from 'eslint';
import { expect, test } from 'vitest';
import { ROOT } from '../../build/files.mjs';

const eslint = new ESLint({ cwd: ROOT });
const config = async (file: string): Promise<Linter.Config> =>
  (await eslint.calculateConfigForFile(`${ROOT}/${file}`)) as Linter.Config;

/** What a rule is set to for a file: undefined when it is off. */
const setting = async (file: string, rule: string): Promise<unknown> => {
  const entry = (await config(file)).rules?.[rule];
  if (!Array.isArray(entry) || entry[0] === 0) return undefined;
  const options = entry.slice(1);
  return options.length === 0 ? 'on' : options[0];
};

const INTERRUPTIBLE = { interruptible: true, coroutines: false };
const ELSEWHERE = { interruptible: false, coroutines: false };
const COROUTINES = { interruptible: false, coroutines: true };

test.each([
  ['src/hypervisor/grant/map.ts', INTERRUPTIBLE],
  ['src/shm/slab.ts', INTERRUPTIBLE],
  ['src/machine/tlb.ts', INTERRUPTIBLE],
  ['src/vcpu/gate.ts', INTERRUPTIBLE],
  ['src/sync/rwlock.ts', INTERRUPTIBLE],
  ['guests/kernel/mm.ts', INTERRUPTIBLE],
  ['src/sync/primitives.ts', COROUTINES],
  ['src/sync/primitives.parallel.ts', COROUTINES],
  ['src/explore/loop.ts', COROUTINES],
  ['test/explore/loop.controlled.test.ts', COROUTINES],
  ['src/lab/run.ts', ELSEWHERE],
  ['src/audit/ledger.ts', ELSEWHERE],
  ['workers/vcpu.ts', ELSEWHERE],
  ['test/shm/slab.test.ts', ELSEWHERE],
])('xenolith/steps for %s', async (file, expected) => {
  expect(await setting(file, 'xenolith/steps')).toEqual(expected);
});

test.each([
  ['xenolith/no-module-state', 'src/hypervisor/page.ts', 'on'],
  ['xenolith/no-module-state', 'guests/kernel/mm.ts', 'on'],
  ['xenolith/no-module-state', 'src/ops/memory.ts', undefined],
  ['xenolith/no-module-state', 'src/sync/primitives.ts', undefined],
  ['xenolith/no-module-state', 'src/lab/run.ts', undefined],
  ['xenolith/no-clock', 'src/abi/pte.ts', 'on'],
  ['xenolith/no-clock', 'src/sync/primitives.parallel.ts', 'on'],
  ['xenolith/no-clock', 'src/explore/loop.ts', 'on'],
  ['xenolith/no-clock', 'guests/kernel/mm.ts', 'on'],
  ['xenolith/no-clock', 'src/lab/run.ts', undefined],
  ['xenolith/no-clock', 'test/lint/config.test.ts', undefined],
  ['xenolith/no-raw-view', 'src/hypervisor/page.ts', { words: false }],
  ['xenolith/no-raw-view', 'guests/kernel/mm.ts', { words: false }],
  ['xenolith/no-raw-view', 'src/trace/ring.ts', { words: true }],
  ['xenolith/no-raw-view', 'src/ops/atomics.ts', undefined],
  ['xenolith/no-raw-view', 'src/sync/primitives.parallel.ts', undefined],
])('%s for %s', async (rule, file, expected) => {
  expect(await setting(file, rule)).toEqual(expected);
});

/** The real config with one rule that needs no types, so that the whole tree need not be compiled. */
const syntaxOnly = new ESLint({
  cwd: ROOT,
  ruleFilter: ({ ruleId }) => ruleId === 'no-restricted-syntax',
  overrideConfig: { languageOptions: { parserOptions: { projectService: false } } },
});

/** The messages of no-restricted-syntax for one text, as if it stood in `file`. */
const restricted = async (file: string, text: string): Promise<string[]> => {
  const [result] = await syntaxOnly.lintText(text, { filePath: `${ROOT}/${file}` });
  return result?.messages.filter((m) => m.ruleId === 'no-restricted-syntax').map((m) => m.message) ?? [];
};

test('a wait without a limit is refused everywhere, one with a limit nowhere', async () => {
  const file = 'src/ops/memory.ts';
  expect(await restricted(file, 'Atomics.wait(w, 0, 1);')).toHaveLength(1);
  expect(await restricted(file, 'Atomics.wait(w, 0);')).toHaveLength(1);
  expect(await restricted(file, 'Atomics.wait(w, 0, 1, 2);')).toEqual([]);
  expect(await restricted('src/sync/rwlock.ts', 'Atomics.wait(w, 0, 1);')).toHaveLength(1);
});

test('an exported const enum is refused', async () => {
  expect(await restricted('src/ops/memory.ts', 'export const enum A { B }')).toHaveLength(1);
  expect(await restricted('src/ops/memory.ts', 'export const A = 1;')).toEqual([]);
});

test('BigInt is refused in interruptible rooms only', async () => {
  expect(await restricted('src/sync/rwlock.ts', 'const a = 1n; BigInt(2);')).toHaveLength(2);
  expect(await restricted('src/sync/rwlock.ts', 'const a = 1;')).toEqual([]);
  expect(await restricted('src/ops/memory.ts', 'const a = 1n;')).toEqual([]);
});
