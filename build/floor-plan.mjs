/**
 * The floor plan: which room may import which, read from the README's table and held against the sources.
 *
 * A row is `room  text  imports`, columns apart by two spaces or more; a row may continue on indented lines, and its
 * imports end its last line. `-` nothing; `+ x` the row above and x; `all above`; `src` every room of src; `a/b.ts` one
 * file of src.
 */
import { posix } from 'node:path';
import ts from 'typescript';

/**
 * @typedef {ReadonlyMap<string, readonly string[]>} Plan room (`src/abi`, `guests`) -> rooms or files it may import
 * @typedef {{ file: string, line: number, target: string }} Reference one import of one source, resolved to a path
 */

const OTHER_ROOMS = ['guests', 'workers', 'bench', 'test', 'build'];

/**
 * The table of the fenced block `floor-plan`; throws on a row that it cannot read.
 * @param {string} markdown
 * @returns {Plan}
 */
export function parseFloorPlan(markdown) {
  const block = /^```floor-plan\n([\s\S]*?)^```/m.exec(markdown)?.[1];
  if (block === undefined) throw new Error('no fenced block named floor-plan');
  const rows = block.split(/\n(?=\S)/).filter((row) => row.trim() !== '');
  /** @type {Map<string, readonly string[]>} */
  const plan = new Map();
  /** @type {readonly string[]} */
  let above = [];
  for (const row of rows) {
    const { room, words } = parseRow(row);
    above = resolveRow(words, above, [...plan.keys()], row);
    plan.set(room, above);
  }
  for (const [room, targets] of plan) {
    for (const t of targets) {
      if (t !== 'src' && !t.endsWith('.ts') && !plan.has(t) && t !== 'build') {
        throw new Error(`the row of ${room} names ${t}, which is no room`);
      }
    }
  }
  return plan;
}

/** @param {string} row */
function parseRow(row) {
  const lines = row.trimEnd().split('\n');
  const columns = (lines.at(-1) ?? '').trim().split(/ {2,}/);
  const room = (/^\S+/.exec(row)?.[0] ?? '').replace(/\/$/, '');
  if (columns.length !== (lines.length === 1 ? 3 : 2)) throw new Error(`not a row of the floor plan: ${row}`);
  return { room, words: (columns.at(-1) ?? '').split(' ') };
}

/**
 * @param {string[]} words
 * @param {readonly string[]} above
 * @param {string[]} rooms
 * @param {string} row
 * @returns {readonly string[]}
 */
function resolveRow(words, above, rooms, row) {
  const [first, ...rest] = words;
  if (first === '-') return [];
  if (first === 'all' && rest[0] === 'above') return rooms;
  if (first === '+') return [...above, ...rest.map(qualify)];
  if (first === undefined || first === '') throw new Error(`no imports column: ${row}`);
  return words.map(qualify);
}

/** @param {string} word */
function qualify(word) {
  return word === 'src' || OTHER_ROOMS.includes(word) ? word : `src/${word}`;
}

/**
 * The room of a file: `src/abi/x.ts` is in `src/abi`, `guests/x.ts` in `guests`.
 * @param {string} file
 */
export function roomOf(file) {
  const [top = '', next = ''] = file.split('/');
  return top === 'src' ? `src/${next}` : top;
}

/**
 * Relative imports of one source, with their types, dynamic imports and re-exports.
 * @param {string} file
 * @param {string} text
 * @returns {Reference[]}
 */
export function referencesOf(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  /** @type {Reference[]} */
  const found = [];
  /** @param {ts.Node} node */
  const visit = (node) => {
    const specifier = specifierOf(node);
    if (specifier?.text.startsWith('.') === true) {
      const target = posix.normalize(posix.join(posix.dirname(file), specifier.text)).replace(/\.js$/, '.ts');
      found.push({ file, line: lineOf(source, specifier), target });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/**
 * @param {ts.Node} node
 * @returns {ts.StringLiteralLike | undefined}
 */
function specifierOf(node) {
  /** @type {ts.Node | undefined} */
  let specifier;
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) specifier = node.moduleSpecifier;
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) specifier = node.argument.literal;
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) specifier = node.arguments[0];
  return specifier !== undefined && ts.isStringLiteralLike(specifier) ? specifier : undefined;
}

/**
 * @param {ts.SourceFile} source
 * @param {ts.Node} node
 */
function lineOf(source, node) {
  return source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
}

/**
 * One sentence per import that the plan does not allow.
 * @param {Plan} plan
 * @param {readonly Reference[]} references
 */
export function breaches(plan, references) {
  return references.flatMap(({ file, line, target }) => {
    const room = roomOf(file);
    const to = roomOf(target);
    const allowed = plan.get(room);
    if (allowed === undefined) return [`${file}:${String(line)}: ${room} is not in the floor plan`];
    if (room === to || allowed.includes(to) || allowed.includes(target)) return [];
    if (to.startsWith('src/') && allowed.includes('src')) return [];
    return [`${file}:${String(line)}: ${room} must not import ${target}`];
  });
}

/**
 * Where a source names a file below `workers/` in a string or starts a `Worker`, as file:line.
 * @param {string} file
 * @param {string} text
 * @returns {string[]}
 */
export function workerNames(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  /** @type {string[]} */
  const found = [];
  /** @param {ts.Node} node */
  const visit = (node) => {
    const names =
      ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node);
    const starts = ts.isNewExpression(node) && node.expression.getText(source) === 'Worker';
    if (starts || (names && /(^|\/)workers\//.test(node.text))) found.push(`${file}:${String(lineOf(source, node))}`);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}
