/**
 * Sweeps every scenario in guests/scenarios/faults until `--faults N` faults are injected (1,000,000): every first answer,
 * then every answer, then pairs, ever closer. Other options go to `xenolith inject`; an interruption ends it and reports.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = join(ROOT, 'guests/scenarios/faults');
const CLI = join(ROOT, 'dist/parallel/src/cli/main.js');

const args = process.argv.slice(2);
const at = args.indexOf('--faults');
const [, given = '1000000'] = at < 0 ? [] : args.splice(at, 2);
const wanted = Number(given);
if (!Number.isSafeInteger(wanted) || wanted < 1) {
  console.error(`--faults: expected a whole number from 1, not '${given}'`);
  process.exit(2);
}

const PASSES = [
  ['--most', '20'],
  ['--most', '1000', '--answers'],
  ...[4, 8, 16, 32, 64, 128].map((n) => ['--most', String(n), '--answers', '--pairs']),
];

const run = {
  stopped: false,
  failed: 0,
  /** @type {import('node:child_process').ChildProcess | undefined} */
  child: undefined,
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    run.stopped = true;
    run.child?.kill('SIGINT');
  });
}
const over = () => run.stopped || run.failed > 0 || sum.faults >= wanted;
/** @param {string | null} signal */
const interrupted = (signal) => run.stopped || signal !== null;

/**
 * @typedef {{ design: string, token: string, expected: boolean, outcome: string, leaked: string[] }} Cell
 * @typedef {{ injected: number, executions: number, complete: boolean, matrix: Cell[] }} Report
 */

/**
 * In a process group of its own: a Ctrl-C comes from here, once.
 * @param {string} file
 * @param {string[]} pass
 * @returns {Promise<{ code: number | null, signal: string | null, text: string }>}
 */
function sweep(file, pass) {
  const p = spawn(
    process.execPath,
    ['--enable-source-maps', CLI, 'inject', join(FOLDER, file), '--sweep', 'all', ...pass, ...args, '--json'],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'], detached: true },
  );
  run.child = p;
  let text = '';
  p.stdout.setEncoding('utf8');
  p.stdout.on('data', (s) => (text += String(s)));
  return new Promise((resolve) => p.on('close', (code, signal) => resolve({ code, signal, text })));
}

const sum = { faults: 0, executions: 0, frames: 0, grants: 0, hangs: 0, unexpected: 0 };
const started = Date.now();
const n = (/** @type {number} */ x) => x.toLocaleString('en');

/** @param {Cell[]} cells */
function count(cells) {
  for (const c of cells) {
    if (c.expected) continue;
    sum.unexpected++;
    if (c.outcome === 'hung') sum.hangs++;
    if (c.leaked.some((l) => /pages of|frames/.test(l))) sum.frames++;
    if (c.leaked.some((l) => /handle|grant entry/.test(l))) sum.grants++;
  }
}

const files = readdirSync(FOLDER).filter((f) => f.endsWith('.yaml'));
for (const pass of PASSES) {
  for (const file of files) {
    if (over()) continue;
    const { code, signal, text } = await sweep(file, pass);
    if (text === '') {
      if (!interrupted(signal)) run.failed = code ?? 3;
      continue;
    }
    /** @type {Report} */
    const r = JSON.parse(text);
    sum.faults += r.injected;
    sum.executions += r.executions;
    count(r.matrix);
    const wrong = r.matrix.filter((c) => !c.expected);
    const end = r.complete ? '' : ', interrupted';
    console.log(`${file} ${pass.join(' ')}: ${n(r.injected)} faults, ${n(wrong.length)} cells not as expected${end}`);
    for (const c of wrong.slice(0, 5)) console.log(`  ! ${c.design} ${c.token}: ${c.outcome}: ${c.leaked[0] ?? ''}`);
  }
}
const seconds = Math.round((Date.now() - started) / 1000);
console.log(
  `${n(sum.faults)} of ${n(wanted)} faults in ${n(sum.executions)} executions, ${n(seconds)} s; not as expected: ${n(sum.unexpected)} cells (${n(sum.frames)} with lost frames, ${n(sum.grants)} with lost grants, ${n(sum.hangs)} hung)`,
);
if (run.stopped) console.log('interrupted');
else if (run.failed === 0 && sum.faults < wanted) console.log('every pass is done: no further faults to inject');
process.exitCode = run.failed > 0 ? run.failed : sum.unexpected > 0 || sum.faults < wanted ? 1 : 0;
