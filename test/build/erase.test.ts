/**
 * The transform of the parallel build, form by form: what is left means the same, and stands where it stood.
 */
import { SourceMap } from 'node:module';
import { runInThisContext } from 'node:vm';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import { erase, EraseError } from '../../build/erase.mjs';

const FILE = 'src/hypervisor/sample.ts';

/** The erased text with runs of blanks as one. */
const dense = (code: string): string =>
  erase(code, FILE)
    .code.replace(/[ \t]+/g, ' ')
    .trim();

describe('generator functions', () => {
  test.each([
    ['function* f() {}', 'function f() {}'],
    ['function*f(){}', 'function f(){}'],
    ['function *f() {}', 'function f() {}'],
    ['export function* f(a: number): Steps<void> {}', 'export function f(a: number): Steps<void> {}'],
    ['export default function* () {}', 'export default function () {}'],
    ['const f = function* () {};', 'const f = function () {};'],
    ['const f = function* named() {};', 'const f = function named() {};'],
    ['const o = { *f() {}, *[k]() {}, *"s"() {}, *1() {} };', 'const o = { f() {}, [k]() {}, "s"() {}, 1() {} };'],
    ['class A { *f() {} static *g() {} *#h() {} }', 'class A { f() {} static g() {} #h() {} }'],
    ['class A { private readonly x = 1; override *f() {} }', 'class A { private readonly x = 1; override f() {} }'],
    ['class A { get\n*f() {} }', 'class A { get\n;f() {} }'],
    ['class A { x = 1;\n*[k]() {} }', 'class A { x = 1;\n [k]() {} }'],
    ['function /* a */ * /* b */ f() {}', 'function /* a */ /* b */ f() {}'],
    ['(function* () {})();', '(function () {})();'],
    [
      'function* f() { function* g() { return function* () {}; } }',
      'function f() { function g() { return function () {}; } }',
    ],
  ])('%s', (code, expected) => {
    expect(dense(code)).toBe(expected);
  });
});

describe('yield*', () => {
  test.each([
    ['yield* g();', 'g();'],
    ['yield*g();', 'g();'],
    ['yield * g();', 'g();'],
    ['yield /* why */ * /* how */ g();', '/* why */ /* how */ g();'],
    ['const x = yield* g();', 'const x = g();'],
    ['const { a, b = yield* d() } = yield* g();', 'const { a, b = d() } = g();'],
    ['x = yield* f(yield* g(yield* h()), yield* i());', 'x = f( g( h()), i());'],
    ['yield* yield* g();', 'g();'],
    ['return yield* g();', 'return g();'],
    ['return (yield* g()) + 1;', 'return ( g()) + 1;'],
    ['throw yield* g();', 'throw g();'],
    ['if (yield* g()) yield* h(); else yield* i();', 'if ( g()) h(); else i();'],
    ['if ((yield* g()) !== 0) return;', 'if (( g()) !== 0) return;'],
    ['while (!(yield* g())) {}', 'while (!( g())) {}'],
    ['do yield* g(); while (yield* h());', 'do g(); while ( h());'],
    ['for (let i = yield* g(); yield* h(i); yield* n(i)) {}', 'for (let i = g(); h(i); n(i)) {}'],
    ['for (const x of yield* g()) yield* h(x);', 'for (const x of g()) h(x);'],
    [
      'switch (yield* g()) { case 1: yield* h(); default: yield* i(); }',
      'switch ( g()) { case 1: h(); default: i(); }',
    ],
    ['const s = `a${yield* g()}b${yield* h(`${yield* i()}`)}c`;', 'const s = `a${ g()}b${ h(`${ i()}`)}c`;'],
    ['k(...(yield* g()), ...(yield* h()));', 'k(...( g()), ...( h()));'],
    ['const a = [yield* g(), ...(yield* h())];', 'const a = [ g(), ...( h())];'],
    ['const o = { [yield* g()]: yield* h(), ...(yield* i()) };', 'const o = { [ g()]: h(), ...( i()) };'],
    ['const x = c ? yield* g() : yield* h();', 'const x = c ? g() : h();'],
    ['const x = yield* c ? g() : h();', 'const x = c ? g() : h();'],
    ['const x = c && (yield* g());', 'const x = c && ( g());'],
    ['const x = a ?? (yield* g());', 'const x = a ?? ( g());'],
    ['const x = yield* a ?? g();', 'const x = a ?? g();'],
    ['yield* this.g(); yield* super.g(); yield* new A().g();', 'this.g(); super.g(); new A().g();'],
    ['yield* o.g!(); yield* (o as O).g();', 'o.g!(); 0, (o as O).g();'],
    ['(yield* g()).x = (yield* h())[yield* i()];', '( g()).x = ( h())[ i()];'],
    ['yield* g(), yield* h();', 'g(), h();'],
    [
      'try { yield* g(); } catch { yield* h(); } finally { yield* i(); }',
      'try { g(); } catch { h(); } finally { i(); }',
    ],
    ['label: for (;;) { yield* g(); continue label; }', 'label: for (;;) { g(); continue label; }'],
    ['const x = (yield* g()) as number;', 'const x = ( g()) as number;'],
    ['yield* tag`a${yield* g()}`;', 'tag`a${ g()}`;'],
  ])('%s', (body, expected) => {
    expect(dense(`function* f() { ${body} }`)).toBe(`function f() { ${expected} }`);
  });
});

describe('hazards: what is left would be read with its neighbours', () => {
  test.each([
    ['a\nyield* (b)()', 'a\n0, (b)()'],
    ['a\nyield* [b][0]()', 'a\n0, [b][0]()'],
    ['a\nyield* `b`.c()', 'a\n0, `b`.c()'],
    ['a\nyield* +b', 'a\n0, +b'],
    ['a\nyield* -b', 'a\n0, -b'],
    ['a\nyield* /b/.exec(c)', 'a\n0, /b/.exec(c)'],
    ['a\nyield* <B>b', 'a\n0, <B>b'],
    ['a\nyield* yield* (b)()', 'a\n0, (b)()'],
    ['a\nyield* (b)(), c', 'a\n0, (b)(), c'],
    ['a\nyield* b()', 'a\n b()'],
    ['yield* function* () {}()', '0, function () {}()'],
    ['yield* { a }.a', '0, { a }.a'],
    ['yield* class {}', '0, class {}'],
    ['if (a) yield* (b)(); else yield* [c][0]()', 'if (a) 0, (b)(); else 0, [c][0]()'],
    ['return yield*\n g()', 'return 0, \n g()'],
    ['return yield* // why\n g()', 'return 0, // why\n g()'],
    ['return yield* yield*\n g()', 'return 0, \n g()'],
    ['return yield*\n c ? g() : h()', 'return 0, \n c ? g() : h()'],
    ['return yield* g(\n1)', 'return g(\n1)'],
    ['const a = yield*\n g()', 'const a = \n g()'],
  ])('%j', (body, expected) => {
    expect(dense(`function* f() {\n${body} }`)).toBe(`function f() {\n${expected} }`);
  });

  test('the guarded text runs as the marked text does', () => {
    const body = [
      'const log = []',
      'const g = function* (x) { log.push(x); return x }',
      'const o = { g }',
      'log.push(0)',
      'yield* (o).g(1)',
      'log.push(2)',
      'yield* [o][0].g(3)',
      'if (log.length > 99) yield* (o).g(4)',
      'else yield* (o).g(5)',
      'log.push(6)',
      'yield* `7`.length === 1 ? o.g(7) : o.g(8)',
      'return yield* // the last',
      '  (function* () { return log.join() })()',
    ].join('\n');
    const marked = `function* f() {\n${body}\n}`;
    const evaluate = (code: string): unknown => runInThisContext(`${code}; f();`) as unknown;
    const steps = evaluate(marked) as Generator<never, string>;
    expect(steps.next()).toEqual({ done: true, value: '0,1,2,3,5,6,7' });
    expect(evaluate(erase(marked, FILE).code)).toBe('0,1,2,3,5,6,7');
  });
});

describe('refused, with file, line and column', () => {
  test.each([
    ['function* f() {\n  yield;\n}', 2, 3, 'bare yield'],
    ['function* f() {\n  const x = yield 1;\n}', 2, 13, 'bare yield'],
    ['function* f() { yield* g(yield); }', 1, 26, 'bare yield'],
    ['\nasync function* f() {}', 2, 1, 'async generator'],
    ['class A {\n  async *f() {} }', 2, 3, 'async generator'],
    ['const o = {\n *[Symbol.iterator]() {} };', 2, 2, 'iterator method'],
    ['function* f() {\n  a.forEach(() => yield* g());\n}', 2, 19, 'outside a generator'],
    ['function* f() {\n  a.forEach((x) => { yield* g(x); });\n}', 2, 22, 'outside a generator'],
  ])('%j', (code, line, column, message) => {
    let thrown: unknown;
    try {
      erase(code, FILE);
    } catch (e) {
      thrown = e;
    }
    expect(thrown).toBeInstanceOf(EraseError);
    expect((thrown as EraseError).message).toMatch(`${FILE}:${String(line)}:${String(column)}: `);
    expect((thrown as EraseError).message).toContain(message);
    expect(thrown).toMatchObject({ file: FILE, line, column });
  });
});

describe('the one import that differs', () => {
  test.each([
    ["import { ld } from '../sync/primitives.js';", "import { ld } from '../sync/primitives.parallel.js';"],
    ['import type { X } from "./primitives.js";', 'import type { X } from "./primitives.parallel.js";'],
    ["export * from '../../src/sync/primitives.js';", "export * from '../../src/sync/primitives.parallel.js';"],
    ["const p = await import('../sync/primitives.js');", "const p = await import('../sync/primitives.parallel.js');"],
    ["type P = typeof import('../sync/primitives.js');", "type P = typeof import('../sync/primitives.parallel.js');"],
    ["import { ld } from '../sync/primitives.parallel.js';", "import { ld } from '../sync/primitives.parallel.js';"],
    ["import { ld } from '../sync/more-primitives.js';", "import { ld } from '../sync/more-primitives.js';"],
    ["import { ld } from 'other/primitives.js';", "import { ld } from 'other/primitives.js';"],
    ["const s = '../sync/primitives.js';", "const s = '../sync/primitives.js';"],
    ["// '../sync/primitives.js'", "// '../sync/primitives.js'"],
  ])('%s', (code, expected) => {
    expect(erase(code, FILE).code).toBe(expected);
  });

  test('the pair itself is left alone', () => {
    const code = "import type * as c from './primitives.js';\nfunction* f() { yield; }";
    expect(erase(code, 'src/sync/primitives.parallel.ts').code).toBe(code);
    expect(erase(code, 'src/sync/primitives.ts').code).toBe(code);
    expect(erase(code, 'C:\\x\\src\\sync\\primitives.ts').code).toBe(code);
  });

  test('the explorer keeps its coroutines and gets the other import', () => {
    const code = "import { run } from '../sync/primitives.js';\nfunction* f() { yield; }";
    expect(erase(code, 'src/explore/loop.ts').code).toBe(code.replace('primitives', 'primitives.parallel'));
  });
});

describe('positions', () => {
  const code = [
    "import { ld, st } from '../sync/primitives.js'; const first = 1;",
    '/** Text that says yield* and function* stays: `yield* f()`. */',
    'export class Pool {',
    '  *take(n: number): Steps<number> {',
    "    const s = 'yield* f()' + /yield* f/.source;",
    '    const a = (yield* ld(n)) + (yield* this.next(yield* ld(n + 1), `${yield* ld(2)}`));',
    '    return yield* st(',
    '      a,',
    '      yield* ld(a), // why',
    '    );',
    '  }',
    '}',
  ].join('\n');

  const tokens = (text: string): { text: string; line: number; column: number }[] => {
    const source = ts.createSourceFile('x.ts', text, ts.ScriptTarget.Latest, true);
    const found: { text: string; line: number; column: number }[] = [];
    const visit = (node: ts.Node): void => {
      if (node.getChildCount(source) > 0) {
        for (const child of node.getChildren(source)) visit(child);
      } else if (node.getWidth(source) > 0) {
        const { line, character } = source.getLineAndCharacterOfPosition(node.getStart(source));
        found.push({ text: node.getText(source), line: line + 1, column: character + 1 });
      }
    };
    visit(source);
    return found;
  };

  test('every token that remains keeps its line and column, but for the line of the swapped import', () => {
    const before = tokens(code).filter((t) => t.line > 1 && t.text !== 'yield' && t.text !== '*');
    const after = tokens(erase(code, FILE).code).filter((t) => t.line > 1);
    expect(after).toEqual(before);
    expect(after.length).toBeGreaterThan(70);
  });

  test('the map leads every token back, the swapped line included', () => {
    const { code: erased, map } = erase(code, FILE);
    const reader = new SourceMap(map as ConstructorParameters<typeof SourceMap>[0]);
    const origins = new Map(tokens(code).map((t) => [`${String(t.line)}:${String(t.column)}`, t.text]));
    for (const t of tokens(erased)) {
      const entry = reader.findEntry(t.line - 1, t.column - 1) as { originalLine: number; originalColumn: number };
      const origin = origins.get(`${String(entry.originalLine + 1)}:${String(entry.originalColumn + 1)}`);
      expect(origin).toBe(t.text.replace('primitives.parallel', 'primitives'));
    }
    expect(map.sources).toEqual([FILE]);
    expect(map.sourcesContent).toEqual([code]);
  });

  test('a file without marks comes back as it is', () => {
    const plain = 'export const a = 1;\r\n\tconst b = a * 2;\n';
    expect(erase(plain, FILE).code).toBe(plain);
  });
});
