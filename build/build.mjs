/**
 * The build: `src`, `guests` and `workers` to `dist/controlled` (points.mjs) and `dist/parallel` (marks erased).
 *
 * Transpiles file by file and checks no types (`npm run typecheck` does). An output carries its source's time and is
 * skipped while that is unchanged; a change of the build scripts or of the compiler makes everything again. A source
 * that does not compile has no output. Maps point at the sources in the tree.
 * Usage: `node build/build.mjs [--if-possible]`; with the flag, nothing is built where the compiler is not installed.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bindImports, importGroups } from './bind-imports.mjs';
import { isFresh, listFiles, remove, ROOT, writeOutput } from './files.mjs';

/** @typedef {typeof import('typescript')} Compiler */
/** @typedef {'controlled' | 'parallel'} Variant */

/** @type {readonly Variant[]} */
const VARIANTS = ['controlled', 'parallel'];
const FOLDERS = ['src', 'guests', 'workers'];
const ASSET = /\.(ya?ml|json)$/;
const OUTPUT = /\.(js|js\.map|ya?ml|json)$/;

/**
 * Builds what is out of date below `root` and returns one message per file that does not compile.
 * @param {string} [root]
 * @returns {Promise<string[]>}
 */
export async function build(root = ROOT) {
  const { default: ts } = await import('typescript');
  const { generate } = await import('./wat.mjs');
  const errors = await generate(root);
  const files = FOLDERS.flatMap((f) => listFiles(root, f));
  const groups = importGroups(root, files);
  const { pointsStamp } = await import('./points.mjs');
  const stale = readStamp(root) !== stamp(ts, groups, pointsStamp());
  for (const variant of VARIANTS) {
    /** @type {Set<string>} */
    const expected = new Set();
    for (const file of files) {
      const output = outputOf(file, variant);
      if (output === undefined) continue;
      expected.add(output);
      if (stale || !isFresh(join(root, output), join(root, file))) {
        errors.push(...(await emit(ts, root, file, output, variant, groups)));
      }
    }
    prune(root, variant, expected);
  }
  if (stale && errors.length === 0) writeOutput(stampPath(root), stamp(ts, groups, pointsStamp()));
  return errors;
}

/**
 * Where a source goes, or undefined for what is not built.
 * @param {string} file
 * @param {Variant} variant
 */
function outputOf(file, variant) {
  if (file.endsWith('.ts') && !file.endsWith('.d.ts')) return `dist/${variant}/${file.slice(0, -3)}.js`;
  return ASSET.test(file) ? `dist/${variant}/${file}` : undefined;
}

/**
 * @param {Compiler} ts
 * @param {string} root
 * @param {string} file
 * @param {string} output
 * @param {Variant} variant
 * @param {ReadonlyMap<string, number>} groups
 * @returns {Promise<string[]>}
 */
async function emit(ts, root, file, output, variant, groups) {
  const input = join(root, file);
  const target = join(root, output);
  const text = readFileSync(input, 'utf8');
  if (!file.endsWith('.ts')) {
    writeOutput(target, text, input);
    return [];
  }
  try {
    const source =
      variant === 'parallel'
        ? (await import('./erase.mjs')).erase(text, file).code
        : (await import('./points.mjs')).points(text, file).code;
    const { js, map } = transpile(ts, source, file);
    map.sources = [relative(dirname(target), input).replaceAll('\\', '/')];
    writeOutput(`${target}.map`, JSON.stringify(map), input);
    writeOutput(target, bindImports(ts, js, file, groups), input);
    return [];
  } catch (e) {
    remove(target);
    return [e instanceof Error ? e.message : String(e)];
  }
}

/**
 * @param {Compiler} ts
 * @param {string} source
 * @param {string} file
 * @returns {{ js: string, map: { sources: string[] } }}
 */
function transpile(ts, source, file) {
  const { outputText, sourceMapText, diagnostics } = ts.transpileModule(source, {
    fileName: file,
    reportDiagnostics: true,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      sourceMap: true,
    },
  });
  const first = diagnostics?.[0];
  if (first !== undefined) {
    const text = ts.flattenDiagnosticMessageText(first.messageText, '\n');
    const at = first.file?.getLineAndCharacterOfPosition(first.start ?? 0) ?? { line: 0, character: 0 };
    throw new Error(`${file}:${String(at.line + 1)}:${String(at.character + 1)}: ${text}`);
  }
  const js = outputText.replace(
    /\/\/# sourceMappingURL=.*\s*$/,
    `//# sourceMappingURL=${basename(file, '.ts')}.js.map\n`,
  );
  const map = /** @type {{ sources: string[] }} */ (JSON.parse(sourceMapText ?? '{}'));
  return { js, map };
}

/**
 * Removes what the build once wrote for a source that is gone.
 * @param {string} root
 * @param {Variant} variant
 * @param {Set<string>} expected
 */
function prune(root, variant, expected) {
  for (const file of listFiles(root, `dist/${variant}`)) {
    if (OUTPUT.test(file) && !expected.has(file.replace(/\.js\.map$/, '.js'))) remove(join(root, file));
  }
}

/** @param {string} root */
function stampPath(root) {
  return join(root, 'dist/build-stamp');
}

/** @param {string} root */
function readStamp(root) {
  try {
    return readFileSync(stampPath(root), 'utf8');
  } catch {
    return '';
  }
}

/**
 * Names the compiler, the text of the scripts that decide what an output says, and which files import each other.
 * @param {Compiler} ts
 * @param {ReadonlyMap<string, number>} groups
 * @param {string} points
 */
function stamp(ts, groups, points) {
  const hash = createHash('sha256')
    .update(ts.version)
    .update(points)
    .update(JSON.stringify(cycles(groups)));
  for (const script of ['bind-imports.mjs', 'build.mjs', 'erase.mjs', 'files.mjs', 'points.mjs'])
    hash.update(readFileSync(join(ROOT, 'build', script)));
  return hash.digest('hex');
}

/**
 * The files of each group of more than one, sorted.
 * @param {ReadonlyMap<string, number>} groups
 */
function cycles(groups) {
  /** @type {Map<number, string[]>} */
  const byGroup = new Map();
  for (const [file, group] of groups) byGroup.set(group, [...(byGroup.get(group) ?? []), file]);
  return [...byGroup.values()]
    .filter((g) => g.length > 1)
    .map((g) => g.sort().join(' '))
    .sort();
}

function compilerInstalled() {
  try {
    createRequire(import.meta.url).resolve('typescript');
    return true;
  } catch {
    return false;
  }
}

async function main() {
  if (process.argv.includes('--if-possible') && !compilerInstalled()) return;
  const errors = await build();
  for (const e of errors) process.stderr.write(`${e}\n`);
  process.exitCode = errors.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
