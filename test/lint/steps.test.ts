/** `xenolith/steps`: every way to lose a `yield*`, beside the same thing done right. */
import { steps } from '../../build/lint/steps.mjs';
import { checkRule } from './rule-tester.js';

const PRELUDE = `
type Steps<T> = Generator<undefined, T, undefined>;
declare function f(n?: number): Steps<number>;
declare function g(n?: number): Steps<number>;
declare function drive<T>(body: () => Steps<T>): T;
declare function each(visit: (n: number) => void): void;
declare function eachStep(visit: (n: number) => Steps<void>): Steps<void>;
declare function take(value: unknown): void;
declare function keep<T>(value: T): T;
declare const c: boolean, n: number, maybe: (() => Steps<number>) | undefined;
interface Design { pre(): Steps<void>; name(): void }
declare function design(d: Design): void;
`;

/** The body of a generator function. */
const inside = (body: string): string => `function* h(): Steps<unknown> { ${body} }`;
const bad = (body: string, ...ids: string[]): { code: string; ids: string[] } => ({ code: inside(body), ids });

const GOOD_EVERYWHERE = [
  ...[
    'yield* f();',
    'const x = (yield* f()) + 1;',
    'if (yield* f()) return;',
    'return yield* f(yield* g());',
    'yield* (f());',
    'yield* (f() as Steps<number>);',
    'yield* (f() satisfies Steps<number>);',
    'yield* f()!;',
    'yield* (c ? f() : g());',
    'yield* (c ? f() : n > 1 ? g(1) : g(2));',
    'if (maybe !== undefined) yield* maybe();',
    'yield* (take(1), f());',
    'yield* (c && f()) as Steps<number>;',
    'yield* (null ?? f());',
    'const x = `${yield* f()}`;',
    'for (const x of [yield* f(), ...[yield* g()]]) take(x);',
    'while (!(yield* f())) continue;',
    'yield* eachStep(function* (x) { yield* f(x); });',
    'yield* [f, g][0]!();',
    'yield* { f }.f();',
    'each((x) => { take(x); });',
  ].map(inside),
  'const named = f; const list = [f, g]; const table = { f, g };',
  'function higher(body: () => Steps<void>): Steps<void>; function higher(): void {}',
  'function pick(): typeof f { return c ? f : g; }',
  'drive(f); drive(function* () { yield* f(); });',
  'function* generic<T>(body: () => Steps<T>): Steps<T> { return yield* body(); }',
  'function* bounded<F extends () => Steps<number>>(body: F): Steps<number> { return yield* body(); }',
  'design({ *pre() { yield* f(); }, name() {} });',
  'class D implements Design { *pre(): Steps<void> { yield* f(); } name(): void {} }',
  'class B { *m(): Steps<void> { yield* f(); } } class E extends B { override *m(): Steps<void> { yield* super.m(); } }',
  'take(f); keep(f); take([f]);',
  'type Result = ReturnType<typeof f>; let t: Steps<number> | undefined;',
  'each(n > 1 ? () => {} : (x) => { take(x); });',
  'const m = new Map<string, () => Steps<number>>([["f", f]]); m.set("g", g);',
  'for (const x of new Map([[1, 2]]).values()) take(x);',
];

const BAD_EVERYWHERE = [
  bad('f();', 'dropped'),
  bad('maybe?.();', 'dropped'),
  bad('f() as unknown;', 'dropped'),
  bad('c ? f() : g();', 'dropped'),
  bad('c && f();', 'dropped'),
  bad('yield* (f(), g());', 'dropped'),
  bad('if (f()) return;', 'condition'),
  bad('while (f()) return;', 'condition'),
  bad('do {} while (f());', 'condition'),
  bad('for (; f(); ) return;', 'condition'),
  bad('const x = f() ? 1 : 2;', 'condition'),
  bad('const x = !f();', 'condition'),
  bad('const x = f() && 1;', 'condition'),
  bad('yield* (f() || g());', 'condition'),
  bad('yield* (maybe?.() ?? g());', 'condition'),
  bad('switch (f()) {}', 'condition'),
  bad('const x = `${f()}`;', 'stray'),
  bad('const x = f() === g();', 'stray', 'stray'),
  bad('for (const x of f()) take(x);', 'stray'),
  bad('take([...f()]);', 'stray'),
  bad('take(f());', 'argument'),
  bad('keep(f());', 'dropped', 'argument'),
  bad('take(yield* keep(f()));', 'argument'),
  bad('const l: unknown[] = []; l.push(f());', 'argument'),
  bad('yield;', 'bare'),
  bad('const x: unknown = yield;', 'bare'),
  { code: 'each(function* (x) { yield* f(x); });', ids: ['callback'] },
  { code: 'each((x) => f(x));', ids: ['callback'] },
  { code: 'each(f);', ids: ['callback'] },
  { code: 'each(c ? f : g);', ids: ['callback', 'callback'] },
  { code: 'const t = { f }; each(t.f);', ids: ['callback'] },
  { code: '[1].forEach(function* () { yield* f(); });', ids: ['callback'] },
  { code: '[1].forEach(f);', ids: ['callback'] },
  { code: '[1].map(f);', ids: ['callback'] },
  { code: '[1].map(function* (x) { return yield* f(x); });', ids: ['callback'] },
  { code: '[1].some(f);', ids: ['callback'] },
  { code: 'new Promise(f);', ids: ['callback'] },
  { code: 'take(function* () { yield* f(); });', ids: ['callback'] },
  { code: 'const cb: (x: number) => void = f;', ids: ['callback'] },
  { code: 'const cb: () => unknown = function* () { yield* f(); };', ids: ['callback'] },
  { code: 'let cb = (): void => {}; cb = f; cb = f as () => void;', ids: ['callback', 'callback'] },
  { code: 'const d: { run: () => void } = { run: f };', ids: ['callback'] },
  { code: 'function pick(): () => void { return f; }', ids: ['callback'] },
  { code: 'design({ *pre() { yield* f(); }, *name() { yield* f(); } });', ids: ['callback'] },
  { code: 'class D implements Design { *pre(): Steps<void> {} *name(): Steps<void> {} }', ids: ['callback'] },
  { code: 'class B { m(): void {} } class E extends B { override *m(): Steps<void> {} }', ids: ['callback'] },
];

const LOOSE_ONLY = [
  'const objects = [f(), g()];',
  'const s = f(); const r = s.next(); take(r.done);',
  'let s: Steps<number>; s = f();',
  'function start(): Steps<number> { return f(); }',
  'const start = (): Steps<number> => f();',
  'declare function resume(s: Steps<number>): void; resume(f());',
  'declare function all(...s: Steps<number>[]): void; all(f(), g());',
  'drive(() => f());',
  'const t = { s: f() }; take(t.s.next());',
  'const list: Steps<number>[] = []; list.push(f(), g()); list.fill(f());',
  'const m = new Map<string, Steps<number>>(); m.set("a", f()); list?.push(f()); declare const list: Steps<number>[] | undefined;',
  'const kept = keep<Steps<number>>(f());',
  'declare class Box<T> { constructor(t: T); put(t: T): void; } new Box<Steps<number>>(f()).put(f());',
];

const INTERRUPTIBLE_ONLY = [
  bad('const x = f();', 'stray'),
  bad('let x; x = f();', 'stray'),
  bad('const x = c ? f() : g();', 'stray'),
  bad('const x = maybe?.();', 'stray'),
  bad('const x = f()!;', 'stray'),
  bad('return f();', 'stray'),
  bad('const x = [f()];', 'stray'),
  bad('const x = { s: f() };', 'stray'),
  bad('const { a = f() } = {} as { a?: Steps<number> };', 'stray'),
  bad('const x = f().next();', 'stray'),
  bad('yield* f(f() as unknown as number);', 'stray'),
  bad('const x = void f();', 'stray'),
  bad('const x = typeof f();', 'stray'),
  bad('yield* (c ? f() : g()).return(1) as never;', 'stray'),
  bad('const x = take, y = (take(1), f());', 'stray'),
  { code: 'async function a(p: Promise<Steps<number>>): Promise<void> { const x = await p; }', ids: ['stray'] },
  { code: 'async function a(): Promise<void> { const x = await (c ? f() : g()); }', ids: ['stray'] },
  { code: 'function a(s: Steps<number> | undefined): unknown { return s; }', ids: ['stray'] },
  { code: 'function a(s: Steps<number>): unknown { return { s }; }', ids: ['stray'] },
  { code: 'function a(o: { s: Steps<number> }): unknown { return o.s; }', ids: ['stray'] },
  { code: 'function a<S extends Steps<number>>(s: S): unknown { return s; }', ids: ['stray'] },
  {
    code: 'interface Mine extends Generator<undefined, number, undefined> {} function a(s: Mine): unknown { return s; }',
    ids: ['stray'],
  },
  { code: 'const start = (): Steps<number> => f();', ids: ['stray'] },
  { code: 'drive(() => f());', ids: ['stray'] },
  { code: 'class A { s = f(); }', ids: ['stray'] },
];

/** Where nothing but `yield*` will do, an argument is as stray as any other place. */
const stricter = BAD_EVERYWHERE.map(({ code, ids }) =>
  code === 'each((x) => f(x));'
    ? { code, ids: ['callback', 'stray'] }
    : { code, ids: ids.map((id) => (id === 'argument' ? 'stray' : id)) },
);

checkRule('steps in interruptible rooms', steps, { prelude: PRELUDE }, GOOD_EVERYWHERE, [
  ...stricter,
  ...INTERRUPTIBLE_ONLY,
]);

checkRule(
  'steps elsewhere',
  steps,
  { prelude: PRELUDE, options: [{ interruptible: false, coroutines: false }] },
  [...GOOD_EVERYWHERE, ...LOOSE_ONLY],
  BAD_EVERYWHERE,
);

checkRule(
  'steps among coroutines',
  steps,
  { prelude: PRELUDE, options: [{ interruptible: false, coroutines: true }] },
  [inside('yield;'), ...LOOSE_ONLY],
  [bad('f();', 'dropped')],
);
