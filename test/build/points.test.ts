/** Points in their callers: what is rewritten, what is left alone, and that a program asks and does the same as before. */
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { points } from '../../build/points.mjs';

const FILE = 'src/machine/a.ts';
const IMPORT = "import { add, cas, cas16, copy, ld, lock, touch as declare } from '../sync/primitives.js';";
const rewritten = (body: string, file = FILE): string => points(`${IMPORT}\n${body}`, file).code.slice(0);
const line = (statement: string): string =>
  rewritten(`function* f() { ${statement} }`)
    .split('\n')[1]
    ?.replace(/^function\* f\(\) \{ let [^;]*; (.*) \}$/, '$1') ?? '';

describe('a primitive that is one point and one operation', () => {
  it('is asked for and done in its caller', () => {
    expect(line('return yield* ld(a);')).toBe('return (($0 = a, $point($0, 1, 1)) && (yield), $ops.ld($0));');
    expect(line('yield* cas(a, x, y + 1);')).toBe(
      '(($0 = a, $1 = x, $2 = y + 1, $point($0, 7, 1)) && (yield), $ops.cas($0, $1, $2));',
    );
    expect(line('yield* cas16(h, x, y);')).toContain('$point($0 >>> 1, 7, 1)');
    expect(line('yield* copy(to, from, n);')).toContain('$point($0, 2, $2)) && (yield), $ops.copy($0, $1, $2)');
    expect(line('yield* declare(a, 4, READ);')).toBe(
      '(($0 = a, $1 = 4, $2 = READ, $point($0, $2, $1)) && (yield), undefined);',
    );
  });

  it('has names of its own for its arguments, whatever they contain', () => {
    expect(line('yield* add(a, yield* ld(yield* ld(b)));')).toBe(
      '(($0 = a, $1 = (($2 = (($3 = b, $point($3, 1, 1)) && (yield), $ops.ld($3)), $point($2, 1, 1)) && (yield), $ops.ld($2)), ' +
        '$point($0, 7, 1)) && (yield), $ops.add($0, $1));',
    );
    expect(rewritten('function* f() { yield* ld(a); yield* add(b, c); }')).toContain('{ let $0, $1; ');
  });

  it('is imported beside those that the file has', () => {
    expect(rewritten('function* f() { yield* ld(a); }')).toContain('import { point as $point, ops as $ops, add, cas,');
    expect(rewritten('function* f() { yield* lock(c, a, r); }')).not.toContain('$point');
  });
});

describe('any other coroutine', () => {
  it('runs before it is delegated to', () => {
    expect(line('const x = yield* g(1);')).toBe(
      'const x = (($r = ($g = g(1)).next()).done ? $r.value : (yield, yield* $g));',
    );
    expect(line('yield* lock(c, yield* h(), r);')).toBe(
      '(($r = ($g = lock(c, (($r = ($g = h()).next()).done ? $r.value : (yield, yield* $g)), r)).next()).done ' +
        '? $r.value : (yield, yield* $g));',
    );
  });

  it('keeps its lines', () => {
    const text =
      'class C {\n  *m(): Steps<void> {\n    yield* cas(\n      a,\n      yield* this.n(\n        1,\n      ),\n      3,\n    );\n  }\n}\n';
    const out = rewritten(text);
    expect(out.split('\n').length).toBe(`${IMPORT}\n${text}`.split('\n').length);
    expect(out.split('\n')[5]).toBe('      (($r = ($g = this.n(');
    expect(ts.transpileModule(out, { reportDiagnostics: true }).diagnostics).toEqual([]);
  });

  it('is left alone outside the rooms of coroutines, in the primitives, and where nothing is called', () => {
    const text = 'function* f() { yield* ld(a); yield* g; }';
    for (const file of ['src/explore/tree.ts', 'src/lab/run.ts', 'src/sync/primitives.ts', 'test/a.ts']) {
      expect(rewritten(text, file)).toBe(`${IMPORT}\n${text}`);
    }
    expect(line('yield* ld(a); yield* g;')).toContain('yield* g;');
  });
});

const PRIMITIVES =
  'function* ld(a) { if ($point(a, 1, 1)) yield; return $ops.ld(a); }\n' +
  'function* add(a, v) { if ($point(a, 7, 1)) yield; return $ops.add(a, v); }\n';

/** Runs `js` over three words and answers all that it asked and did, and how often it was suspended. */
function run(js: string, switches: (n: number) => boolean): readonly string[] {
  const log: string[] = [];
  const words = [3, 1, 4];
  const point = (a: number, kind: number, n: number): boolean => {
    log.push(`point ${String(a)} ${String(kind)} ${String(n)}`);
    return switches(log.length);
  };
  const ops = {
    ld: (a: number) => (log.push(`ld ${String(a)}`), words[a]),
    add: (a: number, v: number) => (log.push(`add ${String(a)} ${String(v)}`), (words[a] = (words[a] ?? 0) + v) - v),
  };
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the transform's own output is what is tested
  const program = new Function('$point', '$ops', `${PRIMITIVES}${js}; return main;`) as (
    ...a: unknown[]
  ) => () => Generator<undefined, unknown>;
  const steps = program(point, ops)();
  for (;;) {
    const r = steps.next();
    if (r.done === true) return [...log, `answer ${String(r.value)}`, words.join()];
    log.push('suspended');
  }
}

it('a program asks, does, waits and answers the same, whoever is switched to and when', () => {
  const program =
    'function* sum(a, b) { return (yield* ld(a)) + (yield* ld(b)); }\n' +
    'function* twice(a) { yield* add(a, yield* sum(a, yield* ld(1))); return yield* add(a, (yield* sum(0, 2)) * 2); }\n' +
    'const o = { *both(f) { try { return [yield* f(0), yield* f(2)].join(); } finally { yield* add(1, 5); } } };\n' +
    'function* main() { let n = 0; for (let i = 0; i < 3; i++) n += yield* twice(i); return n + (yield* o.both(twice)); }\n';
  const after = points(`${IMPORT}\n${program}`, FILE).code.split('\n').slice(1).join('\n');
  expect(after).not.toBe(program);
  for (let seed = 0; seed < 40; seed++) {
    const switches = (n: number): boolean => seed > 0 && ((n * 7919 + seed * 31) >> 2) % (seed + 1) === 0;
    expect(run(after, switches)).toEqual(run(program, switches));
  }
  expect(run(after, () => true).filter((x) => x === 'suspended').length).toBeGreaterThan(20);
});
