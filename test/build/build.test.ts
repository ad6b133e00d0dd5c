/**
 * The build of a small tree with the real scripts: two variants that agree, exact positions, nothing stale.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { build } from '../../build/build.mjs';

const VARIANTS = ['controlled', 'parallel'] as const;
let root: string;

const write = (file: string, text: string): void => {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), text);
};
const read = (file: string): string => readFileSync(join(root, file), 'utf8');
const exists = (file: string): boolean => existsSync(join(root, file));

/** Moves a file's time, as an editor would later. */
const touch = (file: string, seconds: number): void => {
  const { mtimeMs } = statSync(join(root, file));
  utimesSync(join(root, file), mtimeMs / 1000 + seconds, mtimeMs / 1000 + seconds);
};

const PRIMITIVES = `
type Steps<T> = Generator<undefined, T, undefined>;
const words = new Int32Array(16);
export const BUILD = 'controlled';
export function* ld(a: number): Steps<number> { yield; return words[a]!; }
export function* st(a: number, v: number): Steps<void> { yield; words[a] = v; }
export function run<T>(body: () => Steps<T>): T {
  const steps = body();
  for (;;) { const r = steps.next(); if (r.done) return r.value; }
}
`;
const PARALLEL = `
const words = new Int32Array(16);
export const BUILD = 'parallel';
export function ld(a: number): number { return words[a]!; }
export function st(a: number, v: number): void { words[a] = v; }
export function run<T>(body: () => T): T { return body(); }
`;
const SAMPLE = `import { ld, run, st } from '../sync/primitives.js';
type Steps<T> = Generator<undefined, T, undefined>;

interface Shape {
  readonly sides: number;
}

class Sum {
  *of(n: number): Steps<number> {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += (yield* ld(i)) * (i % 2 === 0 ? yield* one() : yield* ld(yield* one()))
    return sum
  }
}

function* one(): Steps<number> {
  return 1;
}

export function* fill(shape: Shape): Steps<string> {
  let i = 0;
  while (i < (yield* limit(shape))) yield* st(i, ++i * 3)
  yield* (new Sum()).of(1)
  return \`\${shape.sides}:\${yield* new Sum().of(yield* limit(shape))}\`;
}

const limit = function* (shape: Shape): Steps<number> {
  return shape.sides;
};

export function* fails(): Steps<never> {
  const sum = (yield* new Sum().of(2)) + (yield* boom(yield* one()));
  throw new Error(String(sum));
}

function* boom(n: number): Steps<number> {
  if ((yield* ld(n)) >= 0) { yield* st(0, 1); throw new Error('boom'); }
  return 0;
}

export const result = (): string => run(() => fill({ sides: 7 }));
export const failure = (): never => run(() => fails());
`;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'xenolith-build-'));
});
afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  write('package.json', '{ "type": "module" }');
  write('src/sync/primitives.ts', PRIMITIVES);
  write('src/sync/primitives.parallel.ts', PARALLEL);
  write('src/a/sample.ts', SAMPLE);
});

const evaluate = (variant: string, expression: string): { stdout: string; stderr: string; status: number | null } => {
  const url = JSON.stringify(`file://${root}/dist/${variant}/src/a/sample.js`);
  const program = `const m = await import(${url}); console.log(${expression});`;
  return spawnSync(process.execPath, ['--enable-source-maps', '--input-type=module', '-e', program], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
};

describe('two builds of one program', () => {
  test('give the same result, from different primitives', async () => {
    expect(await build(root)).toEqual([]);
    for (const variant of VARIANTS) expect(evaluate(variant, 'm.result()').stdout).toBe('7:264\n');
    expect(read('dist/controlled/src/a/sample.js')).toContain('yield*');
    expect(read('dist/controlled/src/a/sample.js')).toContain("'../sync/primitives.js'");
    expect(read('dist/parallel/src/a/sample.js')).not.toMatch(/yield|function\s*\*/);
    expect(read('dist/parallel/src/a/sample.js')).toContain("'../sync/primitives.parallel.js'");
  });

  test.each(VARIANTS)('an error in %s names the line and column of the source', async (variant) => {
    expect(await build(root)).toEqual([]);
    const { stderr, status } = evaluate(variant, 'm.failure()');
    expect(status).toBe(1);
    const at = (needle: string): string => {
      const lines = SAMPLE.split('\n');
      const line = lines.findIndex((l) => l.includes(needle));
      return `${join(root, 'src/a/sample.ts')}:${String(line + 1)}:${String((lines[line] ?? '').indexOf(needle) + 1)}`;
    };
    expect(stderr).toContain(at("new Error('boom')"));
    expect(stderr).toContain(at('boom(yield* one())'));
  });
});

describe('what is built', () => {
  test('assets are copied, declarations are not built', async () => {
    write('guests/scenarios/deep/x.yaml', 'a: 1\n');
    write('workers/w.ts', 'export const w: number = 1;');
    write('src/a/types.d.ts', 'declare const x: number;');
    expect(await build(root)).toEqual([]);
    for (const variant of VARIANTS) {
      expect(read(`dist/${variant}/guests/scenarios/deep/x.yaml`)).toBe('a: 1\n');
      expect(read(`dist/${variant}/workers/w.js`)).toContain('export const w = 1;');
      expect(exists(`dist/${variant}/src/a/types.d.js`)).toBe(false);
    }
  });

  test('maps point at the source in the tree', async () => {
    await build(root);
    const map = JSON.parse(read('dist/parallel/src/a/sample.js.map')) as { sources: string[] };
    expect(map.sources).toEqual(['../../../../src/a/sample.ts']);
    expect(read('dist/parallel/src/a/sample.js')).toMatch(/\n\/\/# sourceMappingURL=sample\.js\.map\n$/);
  });

  test('an unchanged file is skipped, a changed one is made again, also when its time goes back', async () => {
    await build(root);
    const output = 'dist/parallel/src/a/sample.js';
    const made = read(output);
    writeFileSync(join(root, output), 'kept');
    const { atime, mtime } = statSync(join(root, 'src/a/sample.ts'));
    utimesSync(join(root, output), atime, mtime);
    await build(root);
    expect(read(output)).toBe('kept');
    touch('src/a/sample.ts', -3600);
    await build(root);
    expect(read(output)).toBe(made);
    writeFileSync(join(root, output), 'kept');
    utimesSync(join(root, output), atime, mtime);
    touch('src/a/sample.ts', 7200);
    await build(root);
    expect(read(output)).toBe(made);
  });

  test('another compiler or another build script makes everything again', async () => {
    await build(root);
    const output = 'dist/controlled/src/a/sample.js';
    const made = read(output);
    const { atime, mtime } = statSync(join(root, output));
    writeFileSync(join(root, output), 'old');
    utimesSync(join(root, output), atime, mtime);
    writeFileSync(join(root, 'dist/build-stamp'), 'another');
    await build(root);
    expect(read(output)).toBe(made);
  });

  test('what a removed source left is removed', async () => {
    await build(root);
    rmSync(join(root, 'src/a/sample.ts'));
    await build(root);
    for (const variant of VARIANTS) {
      expect(exists(`dist/${variant}/src/a/sample.js`)).toBe(false);
      expect(exists(`dist/${variant}/src/a/sample.js.map`)).toBe(false);
      expect(exists(`dist/${variant}/src/sync/primitives.js`)).toBe(true);
    }
  });

  test('a file that does not compile is named with its position and loses its output; the rest is built', async () => {
    await build(root);
    write('src/a/sample.ts', 'export const a = 1;\nexport const = 2;\n');
    touch('src/a/sample.ts', 60);
    write('src/a/bare.ts', 'export function* f() {\n  yield;\n}\n');
    write('src/b/fine.ts', 'export const fine = 1;');
    const errors = await build(root);
    expect(errors.filter((e) => e.startsWith('src/a/sample.ts:2:14: '))).toHaveLength(2);
    expect(errors.filter((e) => e.startsWith('src/a/bare.ts:2:3: '))).toHaveLength(1);
    expect(errors).toHaveLength(3);
    expect(exists('dist/parallel/src/a/sample.js')).toBe(false);
    expect(exists('dist/parallel/src/a/bare.js')).toBe(false);
    expect(exists('dist/parallel/src/b/fine.js')).toBe(true);
  });
});

describe('WebAssembly text', () => {
  const ADD = `(module (import "env" "memory" (memory 1 4 shared))
  (func (export "add") (param i32 i32) (result i32)
    (i32.atomic.rmw.add (i32.shl (local.get 0) (i32.const 2)) (local.get 1)))
  (func (export "zero") (param i32 i32)
    (memory.fill (local.get 0) (i32.const 0) (local.get 1)))
  (func (export "wide") (result i32) (i32x4.extract_lane 1 (v128.const i32x4 5 6 7 8))))`;

  test('becomes a module of bytes that runs: threads, bulk memory, SIMD', async () => {
    write('src/a/add.wat', ADD);
    expect(await build(root)).toEqual([]);
    expect(read('src/a/add.wat.gen.ts')).toContain('export const bytes: Uint8Array<ArrayBuffer>');
    const program = `
      const { bytes } = await import(${JSON.stringify(`file://${root}/dist/parallel/src/a/add.wat.gen.js`)});
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
      const words = new Int32Array(memory.buffer);
      words.fill(9, 4, 8);
      exports.zero(16, 8);
      console.log(exports.add(3, 5), exports.add(3, 5), words[3], words.slice(4, 8).join(), exports.wide());`;
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    expect(out).toBe('0 5 10 0,0,9,9 6\n');
  });

  test('that does not assemble is named with its position', async () => {
    write('src/a/bad.wat', '(module\n  (func (result i32) (local.get 0)))');
    const errors = await build(root);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^validate failed:\s*src\/a\/bad\.wat:2:\d+|src\/a\/bad\.wat:2:\d+/);
    expect(exists('src/a/bad.wat.gen.ts')).toBe(false);
  });

  test('that is removed takes its generated module along', async () => {
    write('src/a/add.wat', ADD);
    await build(root);
    rmSync(join(root, 'src/a/add.wat'));
    await build(root);
    expect(exists('src/a/add.wat.gen.ts')).toBe(false);
  });
});
