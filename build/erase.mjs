/**
 * The transform of the parallel build: generator functions become plain functions, `yield* f()` becomes `f()`.
 *
 * Purely syntactic, one file at a time. Every erased character becomes a space, so each token that remains keeps its
 * line and column; only what follows the one swapped import specifier on its own line moves.
 *
 * Erased:   the `*` of function declarations, function expressions and methods; the `yield*` operator.
 * Swapped:  relative specifiers `…/primitives.js` -> `…/primitives.parallel.js` (import, export, import(), import type).
 * Refused:  bare `yield`, async generators, `*[Symbol.iterator]`, `yield` outside a generator. These would not mean
 *           the same without the marks; the error says file:line:column.
 * Guarded:  where the erased text would be read as part of the line above, as a declaration, or cut off by an inserted
 *           semicolon, `0,` takes the place of two of the spaces; where a method would become part of the field
 *           above it, `;` takes the place of its `*`.
 */
import ts from 'typescript';
import { identityMap } from './source-map.mjs';

/** The pair itself: same name, two implementations; neither is transformed. */
const PAIR = /(^|\/)src\/sync\/primitives(\.[a-z]+)*\.ts$/;
/** The explorer drives coroutines and exists only controlled; its marks stay, its import is swapped. */
const KEPT = /(^|\/)src\/explore\//;
const SPECIFIER = /^\.{1,2}\/(.*\/)?primitives\.js$/;

export class EraseError extends Error {
  /**
   * @param {string} message
   * @param {string} file
   * @param {number} line 1-based
   * @param {number} column 1-based
   */
  constructor(message, file, line, column) {
    super(`${file}:${String(line)}:${String(column)}: ${message}`);
    this.name = 'EraseError';
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

/**
 * One replacement of text; `text` is as long as the range except for a swapped specifier.
 * @typedef {{ start: number, end: number, text: string }} Edit
 */

/**
 * Whether this file is one of the pair, which is never transformed.
 * @param {string} fileName
 */
export function isPair(fileName) {
  return PAIR.test(fileName.replaceAll('\\', '/'));
}

/**
 * Erases one TypeScript file.
 * @param {string} code
 * @param {string} fileName decides the exemptions, names the errors, and is the only source of the map
 * @returns {{ code: string, map: import('./source-map.mjs').RawMap }}
 * @throws {EraseError}
 */
export function erase(code, fileName) {
  const name = fileName.replaceAll('\\', '/');
  const source = ts.createSourceFile(name, code, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  /** @type {Edit[]} */
  const edits = [];
  if (!PAIR.test(name)) collect(source, source, !KEPT.test(name), edits);
  edits.sort((a, b) => a.start - b.start);
  return { code: apply(code, edits), map: identityMap(source, edits) };
}

/**
 * @param {ts.SourceFile} source
 * @param {ts.Node} node
 * @param {boolean} marks
 * @param {Edit[]} edits
 */
function collect(source, node, marks, edits) {
  if (ts.isStringLiteral(node) && isSpecifier(node) && SPECIFIER.test(node.text)) {
    const end = node.getEnd() - '.js'.length - 1;
    edits.push({ start: end, end, text: '.parallel' });
  }
  if (marks) {
    refuse(source, node);
    if (isGeneratorFunction(node)) eraseStar(source, node, edits);
    if (ts.isYieldExpression(node)) eraseYield(source, node, edits);
  }
  ts.forEachChild(node, (child) => {
    collect(source, child, marks, edits);
  });
}

/**
 * @param {ts.StringLiteral} node
 * @returns {boolean}
 */
function isSpecifier(node) {
  const p = node.parent;
  if (ts.isImportDeclaration(p) || ts.isExportDeclaration(p)) return true;
  if (ts.isCallExpression(p)) return p.expression.kind === ts.SyntaxKind.ImportKeyword;
  return ts.isLiteralTypeNode(p) && ts.isImportTypeNode(p.parent);
}

/**
 * @param {ts.Node} node
 * @returns {node is (ts.FunctionDeclaration | ts.FunctionExpression | ts.MethodDeclaration) & { asteriskToken: ts.AsteriskToken }}
 */
function isGeneratorFunction(node) {
  return (
    (ts.isFunctionDeclaration(node) || ts.isFunctionExpression(node) || ts.isMethodDeclaration(node)) &&
    node.asteriskToken !== undefined
  );
}

/**
 * What has no meaning without the marks.
 * @param {ts.SourceFile} source
 * @param {ts.Node} node
 */
function refuse(source, node) {
  if (isGeneratorFunction(node)) {
    if (node.modifiers?.some((m) => m.kind === ts.SyntaxKind.AsyncKeyword) === true) {
      throw errorAt(source, node, 'an async generator cannot be erased');
    }
    if (node.name !== undefined && ts.isComputedPropertyName(node.name) && isSymbolIterator(node.name.expression)) {
      throw errorAt(source, node, 'an iterator method cannot be erased');
    }
  }
  if (ts.isYieldExpression(node) && node.asteriskToken === undefined) {
    throw errorAt(source, node, 'a bare yield cannot be erased');
  }
  if (ts.isIdentifier(node) && node.text === 'yield' && isReference(node)) {
    throw errorAt(source, node, 'yield outside a generator function');
  }
}

/** @param {ts.Expression} e */
function isSymbolIterator(e) {
  return ts.isPropertyAccessExpression(e) && e.name.text === 'iterator' && e.expression.getText() === 'Symbol';
}

/** A name that is evaluated, not a property's or a type's. @param {ts.Identifier} node */
function isReference(node) {
  const p = node.parent;
  if (ts.isPropertyAccessExpression(p)) return p.expression === node;
  return ts.isBinaryExpression(p) || ts.isExpressionStatement(p) || ts.isCallExpression(p) || ts.isArrowFunction(p);
}

/**
 * @param {ts.SourceFile} source
 * @param {ts.Node} node
 * @param {string} what
 */
function errorAt(source, node, what) {
  const { line, character } = source.getLineAndCharacterOfPosition(node.getStart(source));
  return new EraseError(what, source.fileName, line + 1, character + 1);
}

/**
 * @param {ts.SourceFile} source
 * @param {(ts.FunctionDeclaration | ts.FunctionExpression | ts.MethodDeclaration) & { asteriskToken: ts.AsteriskToken }} node
 * @param {Edit[]} edits
 */
function eraseStar(source, node, edits) {
  const star = node.asteriskToken;
  const text = followsOpenField(source, node) ? ';' : ' ';
  edits.push({ start: star.getStart(source), end: star.getEnd(), text });
}

/**
 * `get` / newline / `*f() {}`: two members that would become one getter.
 * @param {ts.SourceFile} source
 * @param {ts.Node} node
 */
function followsOpenField(source, node) {
  if (!ts.isMethodDeclaration(node) || !ts.isClassLike(node.parent) || node.modifiers !== undefined) return false;
  const members = node.parent.members;
  const before = members[members.indexOf(node) - 1];
  return before !== undefined && ts.isPropertyDeclaration(before) && !before.getText(source).endsWith(';');
}

/**
 * @param {ts.SourceFile} source
 * @param {ts.YieldExpression} node
 * @param {Edit[]} edits
 */
function eraseYield(source, node, edits) {
  const star = node.asteriskToken;
  const operand = node.expression;
  if (star === undefined || operand === undefined) throw errorAt(source, node, 'a bare yield cannot be erased');
  const start = node.getStart(source);
  const end = start + 'yield'.length;
  const text = needsGuard(source, node, operand) ? '0,   ' : '     ';
  edits.push({ start, end, text }, { start: star.getStart(source), end: star.getEnd(), text: ' ' });
}

/**
 * Whether the operand, standing where `yield*` stood, would be read differently. Only the first token of a statement
 * or of what is returned or thrown can be; there a comma operator changes nothing.
 * @param {ts.SourceFile} source
 * @param {ts.YieldExpression} node
 * @param {ts.Expression} operand
 */
function needsGuard(source, node, operand) {
  const start = node.getStart(source);
  /** @type {ts.Node} */
  let top = node;
  while (ts.isExpression(top.parent) && top.parent.getStart(source) === start) top = top.parent;
  const holder = top.parent;
  if (ts.isExpressionStatement(holder)) return !startsPlainly(source, operand);
  if (ts.isReturnStatement(holder) || ts.isThrowStatement(holder)) {
    const gap = source.text.slice(start, firstToken(source, operand));
    return /[\n\r\u2028\u2029]/.test(gap);
  }
  return false;
}

/**
 * Where the first token stands that is left of an expression.
 * @param {ts.SourceFile} source
 * @param {ts.Expression} e
 * @returns {number}
 */
function firstToken(source, e) {
  return ts.isYieldExpression(e) && e.expression !== undefined ? firstToken(source, e.expression) : e.getStart(source);
}

/**
 * True for an operand that begins with a name: no line above continues into it, and no declaration begins so.
 * @param {ts.SourceFile} source
 * @param {ts.Expression} operand
 */
function startsPlainly(source, operand) {
  const word = /^[\p{ID_Start}$_][\p{ID_Continue}$]*/u.exec(source.text.slice(firstToken(source, operand)));
  return word !== null && !['function', 'class', 'async', 'let'].includes(word[0]);
}

/**
 * @param {string} code
 * @param {Edit[]} edits sorted, not overlapping
 */
function apply(code, edits) {
  let out = '';
  let at = 0;
  for (const { start, end, text } of edits) {
    out += code.slice(at, start) + text;
    at = end;
  }
  return out + code.slice(at);
}
