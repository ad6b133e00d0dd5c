/**
 * `npm run bench:native [-- operation ...] [-- --json] [-- --rounds n]`: compiles this folder for both builds, then runs the rows.
 *
 * A row's two sides are processes of their own, warm, asked in turn for one measurement per round; what is reported is
 * the median of the rounds' ratios. The output lies in dist/bench, beside the builds it imports.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';
import { bindImports } from '../build/bind-imports.mjs';
import { build } from '../build/build.mjs';
import { erase } from '../build/erase.mjs';
import { listFiles, ROOT } from '../build/files.mjs';

/** @param {'controlled' | 'parallel'} variant */
function compile(variant) {
  const out = join(ROOT, 'dist/bench', variant);
  mkdirSync(out, { recursive: true });
  for (const file of listFiles(ROOT, 'bench').filter((f) => f.endsWith('.ts'))) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const source = variant === 'parallel' ? erase(text, file).code : text;
    const { outputText } = ts.transpileModule(source, {
      fileName: file,
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
    });
    const bound = variant === 'parallel' ? bindImports(ts, outputText, file, new Map()) : outputText;
    const placed = bound.replaceAll(`'../src/`, `'../../${variant}/src/`);
    writeFileSync(join(out, file.replace(/^bench\//, '').replace(/\.ts$/, '.js')), placed);
  }
}

for (const error of await build()) process.stderr.write(`build: ${error}\n`);
compile('controlled');
compile('parallel');
const runner = await import(pathToFileURL(join(ROOT, 'dist/bench/parallel/runner.js')).href);
try {
  process.exitCode = await runner.main(process.argv.slice(2), ROOT);
} catch (e) {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n`);
  process.exitCode = 2;
}
