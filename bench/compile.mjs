/** Compiles this folder's TypeScript for one build to dist/bench, beside the builds it imports. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { bindImports } from '../build/bind-imports.mjs';
import { erase } from '../build/erase.mjs';
import { listFiles, ROOT } from '../build/files.mjs';
import { points } from '../build/points.mjs';

/** @param {'controlled' | 'parallel'} variant */
export function compile(variant) {
  const out = join(ROOT, 'dist/bench', variant);
  mkdirSync(out, { recursive: true });
  for (const file of listFiles(ROOT, 'bench').filter((f) => f.endsWith('.ts'))) {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const { code: source } = variant === 'parallel' ? erase(text, file) : points(text, file);
    const { outputText } = ts.transpileModule(source, {
      fileName: file,
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
    });
    const bound = bindImports(ts, outputText, file, new Map());
    const placed = bound.replaceAll(/'\.\.\/(src|guests|workers)\//g, `'../../${variant}/$1/`);
    writeFileSync(join(out, file.replace(/^bench\//, '').replace(/\.ts$/, '.js')), placed);
  }
}
