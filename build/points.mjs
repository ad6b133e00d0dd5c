/**
 * The transform of the controlled build: what a point costs when nobody switches. Two rewrites, both syntactic:
 *
 *   yield* cas(a, x, y)   (($0 = a, $1 = x, $2 = y, $point($0, 7, 1)) && (yield), $ops.cas($0, $1, $2))
 *   yield* f(a)           (($r = ($g = f(a)).next()).done ? $r.value : (yield, yield* $g))
 *
 * The first puts a primitive that is one point and one operation into its caller, as `src/sync/primitives.ts` has it: read from
 * there, so that nothing is said twice. The second asks a coroutine to run before it is delegated to: mostly it ends without a
 * switch, and the engine's `yield*` does much more for that than one call of `next` (`npm run bench:native -- controlled`).
 * What is declared to the scheduler, and in which order, stays the same.
 *
 * Right for coroutines alone, which yield nothing, are resumed with nothing and dropped, never returned; so in their rooms only.
 * Line breaks stay where they are.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { isPair } from './erase.mjs';
import { ROOT } from './files.mjs';
import { identityMap } from './source-map.mjs';

const ROOMS = /^(src\/(sync|shm|fault|machine|hypervisor|vcpu)|guests|bench)\//;
const PRIMITIVES = 'src/sync/primitives.ts';
const SPECIFIER = /^\.{1,2}\/(.*\/)?primitives\.js$/;

/**
 * A primitive that is one point and one operation: the arguments of the point, and the operation ('' for none), over its parameters.
 * @typedef {{ parameters: string[], point: ts.Expression[], operation: ts.Expression | undefined }} Primitive
 * @typedef {import('./erase.mjs').Edit} Edit
 */

/**
 * @param {string} fileName
 * @returns {ts.SourceFile}
 */
const parse = (fileName, text = readFileSync(join(ROOT, fileName), 'utf8')) =>
  ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);

/**
 * The numbers that constants of `source` stand for: literals, and what `|` makes of those before them.
 * @param {ts.SourceFile} source
 * @param {Map<string, number>} known
 */
function constants(source, known) {
  for (const statement of source.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    for (const { name, initializer } of statement.declarationList.declarations) {
      const value = initializer === undefined ? undefined : numberOf(initializer, known);
      if (ts.isIdentifier(name) && value !== undefined) known.set(name.text, value);
    }
  }
  return known;
}

/**
 * @param {ts.Expression} e
 * @param {ReadonlyMap<string, number>} known
 * @returns {number | undefined}
 */
function numberOf(e, known) {
  if (ts.isNumericLiteral(e)) return Number(e.text);
  if (ts.isIdentifier(e)) return known.get(e.text);
  if (!ts.isBinaryExpression(e) || e.operatorToken.kind !== ts.SyntaxKind.BarToken) return undefined;
  const [left, right] = [numberOf(e.left, known), numberOf(e.right, known)];
  return left === undefined || right === undefined ? undefined : left | right;
}

/**
 * The primitives whose body is `if (scheduler.point(…)) yield;` and at most one operation.
 * @param {ts.SourceFile} source
 * @returns {Map<string, Primitive>}
 */
function inlinable(source) {
  /** @type {Map<string, Primitive>} */
  const out = new Map();
  for (const f of source.statements) {
    if (!ts.isFunctionDeclaration(f) || f.asteriskToken === undefined || f.name === undefined) continue;
    const [first, second, ...more] = f.body?.statements ?? [];
    const point = first === undefined ? undefined : pointOf(first);
    if (point === undefined || more.length > 0) continue;
    const operation =
      second !== undefined && (ts.isReturnStatement(second) || ts.isExpressionStatement(second))
        ? second.expression
        : undefined;
    if (second !== undefined && operation === undefined) continue;
    out.set(f.name.text, { parameters: f.parameters.map((p) => p.name.getText(source)), point, operation });
  }
  return out;
}

/**
 * The arguments of the point that `if (scheduler.point(…)) yield;` asks for.
 * @param {ts.Statement} s
 * @returns {ts.Expression[] | undefined}
 */
function pointOf(s) {
  if (!ts.isIfStatement(s) || s.elseStatement !== undefined || !ts.isCallExpression(s.expression)) return undefined;
  if (s.expression.expression.getText() !== 'scheduler.point' || s.thenStatement.getText() !== 'yield;')
    return undefined;
  return [...s.expression.arguments];
}

const source = parse(PRIMITIVES);
const KINDS = constants(source, constants(parse('src/sync/schedule.ts'), new Map()));
const INLINED = inlinable(source);

/** What the output depends on beside its own source. */
export const pointsStamp = () => source.text + JSON.stringify([...KINDS]);

/**
 * `e` with the parameters replaced by `values`, names of kinds by their numbers, and `ops` by the name it is imported under.
 * @param {ts.Expression} e
 * @param {ReadonlyMap<string, string>} values
 */
function substitute(e, values) {
  const start = e.getStart(source);
  let out = '';
  let done = start;
  /** @param {ts.Node} node */
  const visit = (node) => {
    const name = ts.isIdentifier(node) && !isMember(node) ? node.text : undefined;
    const text =
      name === undefined ? undefined : (values.get(name) ?? KINDS.get(name) ?? (name === 'ops' ? '$ops' : undefined));
    if (text !== undefined) {
      out += source.text.slice(done, node.getStart(source)) + String(text);
      done = node.end;
    }
    ts.forEachChild(node, visit);
  };
  visit(e);
  return out + source.text.slice(done, e.end);
}

/** @param {ts.Node} node */
const isMember = (node) => ts.isPropertyAccessExpression(node.parent) && node.parent.name === node;

/**
 * Whether this file is one of those that are rewritten.
 * @param {string} fileName
 */
export const hasPoints = (fileName) => ROOMS.test(fileName) && !isPair(fileName);

/**
 * Rewrites one TypeScript file.
 * @param {string} code
 * @param {string} fileName decides whether anything is done at all
 * @returns {{ code: string, map: import('./source-map.mjs').RawMap }}
 */
export function points(code, fileName) {
  const name = fileName.replaceAll('\\', '/');
  const file = parse(name, code);
  /** @type {Edit[]} */
  const edits = hasPoints(name) ? new Rewriting(file).edits() : [];
  let out = '';
  let done = 0;
  for (const e of edits) {
    out += code.slice(done, e.start) + e.text;
    done = e.end;
  }
  return { code: out + code.slice(done), map: identityMap(file, edits) };
}

class Rewriting {
  /** @param {ts.SourceFile} file */
  constructor(file) {
    this.file = file;
    /** @type {Edit[]} */
    this.list = [];
    /** How many names each function needs, and whether `$g` and `$r` too. @type {Map<ts.FunctionLikeDeclaration, { words: number, first: boolean }>} */
    this.needs = new Map();
    this.imported = importOf(file);
  }

  edits() {
    this.visit(this.file, 0);
    for (const [f, { words, first }] of this.needs) {
      const names = Array.from({ length: words }, (_, i) => `$${String(i)}`);
      if (first) names.push('$g', '$r');
      if (names.length > 0 && f.body !== undefined)
        this.insert(f.body.getStart(this.file) + 1, ` let ${names.join(', ')};`);
    }
    if (this.inlined) this.insert(this.imported?.at ?? 0, ' point as $point, ops as $ops,');
    return this.list.sort((a, b) => a.start - b.start || a.end - b.end);
  }

  /**
   * @param {number} at
   * @param {string} text
   */
  insert(at, text) {
    this.list.push({ start: at, end: at, text });
  }

  /**
   * Inner rewrites come first, so that of two insertions at one place theirs stands first. `words`: the first free `$n`.
   * @param {ts.Node} node
   * @param {number} words
   */
  visit(node, words) {
    const call = ts.isYieldExpression(node) && node.asteriskToken !== undefined ? node.expression : undefined;
    if (call !== undefined && ts.isCallExpression(call)) {
      const p = ts.isIdentifier(call.expression) ? this.imported?.names.get(call.expression.text) : undefined;
      if (p !== undefined && p.parameters.length === call.arguments.length) this.inline(node, call, p, words);
      else this.ask(node, call, words);
    } else {
      ts.forEachChild(node, (child) => {
        this.visit(child, words);
      });
    }
  }

  /**
   * @param {ts.Node} node
   * @param {ts.CallExpression} call
   * @param {number} words
   */
  ask(node, call, words) {
    this.visit(call.expression, words);
    for (const a of call.arguments) this.visit(a, words);
    this.need(node, 0).first = true;
    this.list.push({ start: node.getStart(this.file), end: call.getStart(this.file), text: '(($r = ($g = ' });
    this.insert(node.end, ').next()).done ? $r.value : (yield, yield* $g))');
  }

  /**
   * @param {ts.Node} node
   * @param {ts.CallExpression} call
   * @param {Primitive} p
   * @param {number} words
   */
  inline(node, call, p, words) {
    const end = words + call.arguments.length;
    this.need(node, end);
    this.inlined = true;
    const values = new Map(p.parameters.map((name, i) => [name, `$${String(words + i)}`]));
    const open = this.file.text.indexOf('(', call.expression.end) + 1;
    this.list.push({ start: node.getStart(this.file), end: open, text: `(($${String(words)} = ` });
    call.arguments.forEach((a, i) => {
      this.visit(a, end);
      const comma = this.file.text.slice(a.end).match(/^\s*,/)?.[0].length ?? 0;
      const next = i + 1 < call.arguments.length ? `, $${String(words + i + 1)} =` : '';
      if (comma > 0) this.list.push({ start: a.end + comma - 1, end: a.end + comma, text: next });
    });
    const asked = p.point.map((e) => numberOf(e, KINDS) ?? substitute(e, values));
    const operation = p.operation === undefined ? 'undefined' : substitute(p.operation, values);
    const text = `, $point(${asked.join(', ')})) && (yield), ${operation})`;
    this.list.push({ start: node.end - 1, end: node.end, text });
  }

  /**
   * @param {ts.Node} node
   * @param {number} words
   */
  need(node, words) {
    const f = functionOf(node);
    const has = this.needs.get(f) ?? { words: 0, first: false };
    has.words = Math.max(has.words, words);
    this.needs.set(f, has);
    return has;
  }
}

/**
 * The function that a `yield` belongs to.
 * @param {ts.Node} node
 * @returns {ts.FunctionDeclaration | ts.FunctionExpression | ts.MethodDeclaration}
 */
function functionOf(node) {
  const f = node.parent;
  return ts.isFunctionDeclaration(f) || ts.isFunctionExpression(f) || ts.isMethodDeclaration(f) ? f : functionOf(f);
}

/**
 * The import of primitives, if there is one: where its names begin, and which of them are put into their callers.
 * @param {ts.SourceFile} file
 * @returns {{ at: number, names: Map<string, Primitive> } | undefined}
 */
function importOf(file) {
  for (const s of file.statements) {
    if (!ts.isImportDeclaration(s) || !ts.isStringLiteral(s.moduleSpecifier)) continue;
    if (!SPECIFIER.test(s.moduleSpecifier.text) || s.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword)
      continue;
    const named = s.importClause?.namedBindings;
    if (named === undefined || !ts.isNamedImports(named)) continue;
    /** @type {Map<string, Primitive>} */
    const names = new Map();
    for (const e of named.elements) {
      const p = INLINED.get(e.propertyName?.text ?? e.name.text);
      if (p !== undefined && !e.isTypeOnly) names.set(e.name.text, p);
    }
    return { at: named.getStart(file) + 1, names };
  }
  return undefined;
}
