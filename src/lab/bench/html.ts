/**
 * The HTML report: one file that needs nothing else, plots drawn by uPlot, tables as text.
 *
 * Invariant: no reference to another file or host; what is printed is escaped.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Plot } from './figures.js';

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** The page's script, with its library. The extension is that of the tree it is loaded from: sources or build. */
async function script(): Promise<string> {
  const here = import.meta.url;
  const entry = fileURLToPath(new URL(`./page${here.endsWith('.ts') ? '.ts' : '.js'}`, here));
  const out = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    target: 'es2022',
    logLevel: 'silent',
    sourcemap: false,
  });
  return out.outputFiles[0]?.text ?? '';
}

const STYLE =
  'body{font:14px/1.4 system-ui,sans-serif;margin:2em;max-width:70em}pre{overflow-x:auto;background:#f6f6f6;padding:1em}';

/** The whole page: `plots`, then `text` as it stands in a terminal. */
export async function htmlReport(title: string, plots: readonly Plot[], text: string): Promise<string> {
  const css = readFileSync(createRequire(import.meta.url).resolve('uplot/dist/uPlot.min.css'), 'utf8');
  const data = JSON.stringify(plots).replaceAll('<', '\\u003c');
  const code = (await script()).replaceAll('</script', '<\\/script');
  return [
    '<!doctype html>',
    `<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title>`,
    `<style>${css}${STYLE}</style></head><body>`,
    `<h1>${escape(title)}</h1><div id="plots"></div>`,
    `<pre>${escape(text)}</pre>`,
    `<script type="application/json" id="data">${data}</script>`,
    `<script>${code}</script>`,
    '</body></html>',
    '',
  ].join('\n');
}
