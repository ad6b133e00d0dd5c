/**
 * Explores every small scenario under every design at preemption bounds 1 and 2, and prints one table: what was exhausted,
 * what was found as expected, what was not through. Then the twins of the hypervisor. Stopped and started again it goes on
 * where it was, as long as the code is the same. Flags: --time S of each (scenario, design, bound), --workers N, --bounds
 * 1,2, --state FILE, --write (the table into docs/explore.md), --no-twins; scenario names limit it to these.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SMALL = join(ROOT, 'guests/scenarios/small');
const DOC = join(ROOT, 'docs/explore.md');
const CLI = join(ROOT, 'dist/parallel/src/cli/main.js');
const BEGIN = '<!-- explore:all begin -->';
const END = '<!-- explore:all end -->';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    time: { type: 'string', default: '10' },
    workers: { type: 'string', default: '2' },
    bounds: { type: 'string', default: '1,2' },
    state: { type: 'string', default: join(ROOT, 'dist/explore-all.json') },
    write: { type: 'boolean', default: false },
    'no-twins': { type: 'boolean', default: false },
  },
});
const bounds = flags.bounds.split(',');
const scenarios = readdirSync(SMALL)
  .filter((f) => f.endsWith('.yaml'))
  .map((f) => f.slice(0, -'.yaml'.length))
  .filter((name) => positionals.length === 0 || positionals.includes(name))
  .sort();

/** @type {{ codeHash: () => string }} */
const { codeHash } = await import(new URL('../dist/parallel/src/lab/explore/code-hash.js', import.meta.url).href);
const key = `${codeHash()} ${flags.time} s`;
/** @type {{ key: string, done: Record<string, any[]> }} */
let state = { key, done: {} };
if (existsSync(flags.state)) {
  const read = JSON.parse(readFileSync(flags.state, 'utf8'));
  if (read.key === key) state = read;
}

const halt = new AbortController();
const stopped = () => halt.signal.aborted;
process.on('SIGINT', () => {
  halt.abort();
});

/** @param {string} name @param {string} bound */
const explore = (name, bound) =>
  new Promise((resolve) => {
    const args = ['explore', join(SMALL, `${name}.yaml`), '-p', bound, '--time', flags.time, '-w', flags.workers];
    const child = spawn(process.execPath, [CLI, ...args, '--json', '-q'], { cwd: ROOT });
    let text = '';
    child.stdout.on('data', (part) => (text += String(part)));
    child.stderr.pipe(process.stderr);
    child.on('close', (code) => resolve(code === 0 || code === 1 ? JSON.parse(text).designs : undefined));
  });

/** @param {any[]} designs */
function cell(designs) {
  const broken = designs.filter((d) => d.violations.length > 0);
  const right = designs.filter((d) => d.violations.length === 0 && d.executions > 0);
  const through = right.filter((d) => d.exhausted);
  const counts = through.map((d) => d.executions).sort((a, b) => a - b);
  const range = counts.length === 0 ? '' : ` (${[...new Set([counts[0], counts.at(-1)])].join(' - ')})`;
  const odd = designs.filter((d) => !d.expected).map((d) => d.design);
  return [
    `${through.length} of ${right.length}${range}`,
    `${broken.filter((d) => d.expected).length} of ${broken.length}`,
    [...right.filter((d) => !d.exhausted).map((d) => d.design), ...odd.map((d) => `${d} NOT as expected`)].join(', '),
  ];
}

function table() {
  const rows = [['scenario', 'bound', 'exhausted (executions)', 'broken as expected', 'not through']];
  rows.push(['---', '--:', '---', '---', '---']);
  for (const name of scenarios) {
    for (const bound of bounds) {
      const designs = state.done[`${name} ${bound}`];
      rows.push([name, bound, ...(designs === undefined ? ['not run', '', ''] : cell(designs))]);
    }
  }
  return rows.map((r) => `| ${r.join(' | ')} |`).join('\n');
}

const failed = [];
for (const bound of bounds) {
  for (const name of scenarios) {
    const at = `${name} ${bound}`;
    if (stopped()) break;
    if (state.done[at] === undefined) {
      const designs = await explore(name, bound);
      if (stopped()) break;
      if (designs !== undefined) state.done[at] = designs;
      writeFileSync(flags.state, JSON.stringify(state));
    }
    const designs = state.done[at];
    process.stderr.write(`${at}: ${designs === undefined ? 'failed' : cell(designs).slice(0, 2).join(', ')}\n`);
    if (designs === undefined || designs.some((d) => !d.expected)) failed.push(at);
  }
}

process.stdout.write(`${table()}\n`);
if (flags.write) {
  const doc = readFileSync(DOC, 'utf8');
  const [from, to] = [doc.indexOf(BEGIN), doc.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${DOC} has no marked region`);
  const head = `At most ${flags.time} s of each design (\`npm run explore:all -- --write\`); least and most executions:`;
  writeFileSync(DOC, `${doc.slice(0, from + BEGIN.length)}\n\n${head}\n\n${table()}\n\n${doc.slice(to)}`);
  spawnSync(process.execPath, [join(ROOT, 'node_modules/prettier/bin/prettier.cjs'), '--write', DOC]);
}
if (!stopped() && !flags['no-twins']) {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--project', 'controlled', '--mode', 'exhaustive', 'test/twins'];
  if (spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status !== 0) failed.push('twins');
}
const done = failed.length === 0 ? 'explored: everything as expected' : `not as expected: ${failed.join(', ')}`;
console.log(stopped() ? 'stopped; started again it goes on from here' : done);
process.exitCode = stopped() ? 130 : failed.length === 0 ? 0 : 1;
