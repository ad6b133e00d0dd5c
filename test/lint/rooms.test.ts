/** The rules about clocks, module state and raw memory, each beside what it must leave alone. */
import { noClock } from '../../build/lint/no-clock.mjs';
import { noModuleState } from '../../build/lint/no-module-state.mjs';
import { noRawView } from '../../build/lint/no-raw-view.mjs';
import { checkRule } from './rule-tester.js';

const all = (id: string, codes: readonly string[]): { code: string; ids: string[] }[] =>
  codes.map((code) => ({ code, ids: [id] }));

checkRule(
  'no-clock',
  noClock,
  {},
  [
    'Math.imul(2, 3);',
    'process.env["A"];',
    'const clock = { Date: 1 }; clock.Date;',
    'function f(Date: number): number { return Date; }',
    'import { performance } from "./case.js"; performance;',
    'const o = { random: 1 }; o.random;',
    'const { max } = Math; max(1, 2);',
    'type D = Date; let d: Date | undefined;',
    'import type { Hash } from "node:crypto"; let h: Hash | undefined;',
    'import { readFileSync } from "node:fs"; readFileSync;',
  ],
  all('clock', [
    'Date.now();',
    'new Date();',
    'globalThis.Date.now();',
    'globalThis["Date"].now();',
    'performance.now();',
    'setTimeout(() => {}, 1);',
    'setInterval(() => {}, 1);',
    'setImmediate(() => {});',
    'queueMicrotask(() => {});',
    'const r = Math.random;',
    'Math["random"]();',
    'globalThis.Math.random();',
    'const { random } = Math;',
    'const { Date: D } = globalThis;',
    'process.hrtime.bigint();',
    'process.nextTick(() => {});',
    'crypto.randomUUID();',
    'import { performance } from "node:perf_hooks"; performance;',
    'import { setTimeout } from "timers/promises"; setTimeout;',
    'import { randomBytes } from "node:crypto"; randomBytes;',
    'function f() { return Date.now(); }',
  ]),
);

checkRule(
  'no-module-state',
  noModuleState,
  {},
  [
    'const N = 3; export const S = "s", B = true, NEG = -1, SUM = 1 + 2;',
    'export const T = [1, 2] as const;',
    'export const T = { a: 1 } as const satisfies { a: number };',
    'export const T = Object.freeze({ a: 1 });',
    'export const T = Object.freeze([1]);',
    'const T: readonly number[] = [1];',
    'const T: ReadonlyArray<number> = Array.from([1]);',
    'const T: Readonly<Record<string, number>> = { a: 1 };',
    'const T: ReadonlyMap<string, number> = new Map([["a", 1]]);',
    'const T = [1] as readonly number[];',
    'const f = (): number[] => []; function g(): number { let x = 1; x++; const m = new Map(); return x + m.size; }',
    'const f = function* (): Generator { const a = [1]; yield a; };',
    'class A { x = 1; static readonly y = 1; static z = (): number => 1; static readonly t = [1] as const; }',
    'class Bug extends Error {} const instance = new Bug("x");',
    'declare function record(n: number): { at: (i: number) => number }; export const vma = record(3);',
    'declare let x: number;',
    '{ let x = 1; x++; }',
    'if (true) { let x = 1; x++; }',
  ],
  [
    ...all('variable', ['let x = 1;', 'var x = 1;', 'export let x: number;', 'let a = 1, b = 2;']),
    ...all('object', [
      'const t = {};',
      'export const t = { a: 1 };',
      'const t = [];',
      'const t: number[] = [1];',
      'const t = [1] satisfies number[];',
      'const t = [1] as number[];',
      'const m = new Map();',
      'const m = new Set([1]) as Set<number>;',
      'const m = new WeakMap()!;',
      'const w = new Int32Array(4);',
      'const w = new BigUint64Array(4);',
      'const w = Int32Array.from([1]);',
      'const w = new Array(4);',
      'const w = Array(4);',
      'const w = Array.of(1);',
      'const w = new SharedArrayBuffer(4);',
      'const w = new DataView(new ArrayBuffer(4));',
      'const o = Object.create(null);',
      'const o = Object.fromEntries([]);',
      'const o = Math.abs(1) > 1 ? { a: 1 } : null;',
      'const o = null ?? { a: 1 };',
    ]),
    ...all('field', ['class A { static x = 1; }', 'class A { static readonly m = new Map(); }']),
  ],
);

const MEMORY = 'declare const shared: SharedArrayBuffer, own: ArrayBuffer, memory: { buffer: ArrayBufferLike };\n';
const RAW_GOOD = [
  'new Int32Array(4);',
  'new Int32Array([1, 2]);',
  'new Int32Array(own);',
  'new Uint8Array(new ArrayBuffer(8));',
  'const o = { Atomics: 1 }; o.Atomics;',
  'import { TOTAL_WORDS } from "../ops/memory.js"; TOTAL_WORDS;',
  'import { words } from "./words.js"; words;',
];
const RAW_BAD = [
  ...all('atomics', ['Atomics.load(new Int32Array(4), 0);', 'const { load } = { load: Atomics.load };']),
  ...all('view', [
    'new Int32Array(shared);',
    'new Int32Array(shared, 0, 4);',
    'new Uint8Array(memory.buffer);',
    'new DataView(shared);',
    'new BigInt64Array(new SharedArrayBuffer(8));',
  ]),
];
const WORDS = ['import { words } from "../ops/memory.js"; words;', 'import { words as w } from "./ops/memory.js"; w;'];

checkRule('no-raw-view', noRawView, { prelude: MEMORY }, RAW_GOOD, [
  ...RAW_BAD,
  ...all('words', [...WORDS, 'import * as m from "../ops/memory.js"; m;']),
]);
checkRule(
  'no-raw-view under the primitives',
  noRawView,
  { prelude: MEMORY, options: [{ words: true }] },
  [...RAW_GOOD, ...WORDS],
  RAW_BAD,
);
