/**
 * Gives imported and exported names constants of their module, in the hot rooms and the benches of both builds: what was
 * `import { a } from './x.js';` becomes `import { a as $a } from './x.js'; const a = $a;`, and what was `export const b = 1;`
 * becomes `const b = 1;` with `const $$b = b; export { $$b as b };` behind the last statement.
 *
 * An engine reads an imported name, and within its own module an exported one, through a cell at every use and does not know
 * what it finds there: a division by an exported constant is a division. A module's own constant it folds, into the code for a
 * number and into a direct call for a function (`npm run bench:native -- grant walk load`).
 * Exports of these rooms never change (one that may is an error), so the names mean the same.
 *
 * Left alone: modules that import each other, for a constant could be read before it is there; functions; namespaces; packages.
 * Lines stay as they are; columns move on the lines of import statements and of the last statement only.
 */
import { readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

const HOT = /^(src\/(abi|ops|sync|shm|trace|fault|machine|hypervisor|vcpu|explore|audit|lab\/explore)|guests|bench)\//;
const TYPE_IMPORT = /^(import|export) type [^;]*;/gm;
const SPECIFIER = /\bfrom\s+'(\.{1,2}\/[^']+)\.js'/g;

/**
 * Which file of the tree belongs to which group of files that import each other, directly or not.
 * @param {string} root
 * @param {readonly string[]} files sources, relative to `root`
 * @returns {ReadonlyMap<string, number>}
 */
export function importGroups(root, files) {
  const sources = files.filter((f) => f.endsWith('.ts') && !f.endsWith('.d.ts'));
  const known = new Set(sources);
  /** @type {Map<string, string[]>} */
  const graph = new Map();
  for (const file of sources) {
    const text = readFileSync(join(root, file), 'utf8').replaceAll(TYPE_IMPORT, '');
    const targets = [...text.matchAll(SPECIFIER)].map((m) => target(file, m[1] ?? ''));
    graph.set(
      file,
      targets.flatMap(withPair).filter((t) => known.has(t)),
    );
  }
  return groups(graph);
}

/**
 * @param {string} file
 * @param {string} specifier without its extension
 */
function target(file, specifier) {
  return `${posix.join(posix.dirname(file), specifier)}.ts`;
}

/**
 * A module that exists twice is imported as either.
 * @param {string} file
 */
function withPair(file) {
  return file.endsWith('/primitives.ts') ? [file, file.replace(/\.ts$/, '.parallel.ts')] : [file];
}

/**
 * Tarjan's strongly connected components.
 * @param {ReadonlyMap<string, readonly string[]>} graph
 * @returns {Map<string, number>}
 */
function groups(graph) {
  /** @type {Map<string, number>} */
  const group = new Map();
  /** @type {Map<string, number>} */
  const index = new Map();
  /** @type {Map<string, number>} */
  const low = new Map();
  /** @type {string[]} */
  const stack = [];
  /** @param {string} v */
  const visit = (v) => {
    index.set(v, index.size);
    low.set(v, index.size - 1);
    stack.push(v);
    for (const w of graph.get(v) ?? []) {
      if (!index.has(w)) visit(w);
      if (!group.has(w)) low.set(v, Math.min(low.get(v) ?? 0, low.get(w) ?? 0));
    }
    if (low.get(v) !== index.get(v)) return;
    for (let w = stack.pop(); w !== undefined; w = stack.pop()) {
      group.set(w, index.get(v) ?? 0);
      if (w === v) return;
    }
  };
  for (const v of graph.keys()) if (!index.has(v)) visit(v);
  return group;
}

/**
 * Rewrites the imports of one compiled module.
 * @param {typeof import('typescript')} ts
 * @param {string} js
 * @param {string} file the source it was compiled from, relative to the root
 * @param {ReadonlyMap<string, number>} group
 * @returns {string}
 */
export function bindImports(ts, js, file, group) {
  if (!HOT.test(file)) return js;
  const source = ts.createSourceFile(file, js, ts.ScriptTarget.Latest, false, ts.ScriptKind.JS);
  const all = ownExports(ts, source);
  const own = isInCycle(group, file) ? [] : all;
  let out = '';
  let done = 0;
  for (const statement of source.statements) {
    if (own.some((e) => e.statement === statement)) {
      const start = statement.getStart(source);
      out += `${js.slice(done, start)}${' '.repeat('export'.length)}`;
      done = start + 'export'.length;
    }
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
    const names = statement.importClause?.namedBindings;
    const specifier = statement.moduleSpecifier.text;
    if (names === undefined || !ts.isNamedImports(names) || !specifier.startsWith('.')) continue;
    const from = group.get(target(file, specifier.replace(/\.js$/, '')));
    if (from !== undefined && from === group.get(file)) continue;
    const constants = [];
    for (const e of names.elements) {
      const here = e.name.text;
      const theirs = e.propertyName?.text ?? here;
      out += `${js.slice(done, e.getStart(source))}${theirs} as $${here}`;
      done = e.end;
      constants.push(`${here} = $${here}`);
    }
    out += js.slice(done, statement.end);
    done = statement.end;
    if (constants.length > 0) out += ` const ${constants.join(', ')};`;
  }
  const last = source.statements.at(-1)?.end ?? 0;
  const names = own.flatMap((e) => e.names);
  if (names.length === 0) return out + js.slice(done);
  const aliases = names.map((n) => `$$${n} = ${n}`).join(', ');
  const exported = names.map((n) => `$$${n} as ${n}`).join(', ');
  return `${out}${js.slice(done, last)} const ${aliases}; export { ${exported} };${js.slice(last)}`;
}

/**
 * The `export const` statements and the names that each declares.
 * @param {typeof import('typescript')} ts
 * @param {import('typescript').SourceFile} source
 */
function ownExports(ts, source) {
  return source.statements.flatMap((statement) => {
    if (!ts.isVariableStatement(statement)) return [];
    if (!statement.modifiers?.some((m) => m.kind === ts.SyntaxKind.ExportKeyword)) return [];
    if ((statement.declarationList.flags & ts.NodeFlags.Const) === 0) {
      throw new Error(`${source.fileName}: an export that may change; who imports it would keep its first value`);
    }
    return [{ statement, names: statement.declarationList.declarations.flatMap((d) => namesOf(ts, d.name)) }];
  });
}

/**
 * @param {typeof import('typescript')} ts
 * @param {import('typescript').BindingName} name
 * @returns {string[]}
 */
function namesOf(ts, name) {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((e) => (ts.isBindingElement(e) ? namesOf(ts, e.name) : []));
}

/**
 * @param {ReadonlyMap<string, number>} group
 * @param {string} file
 */
function isInCycle(group, file) {
  const own = group.get(file);
  return own !== undefined && [...group].some(([other, g]) => g === own && other !== file);
}
