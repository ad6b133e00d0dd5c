/**
 * `npm run mutate [-- --files text] [-- --sample n] [-- --seed n] [-- --json]`: does anybody notice a broken guard?
 *
 * Takes the condition of an `if` of `src/hypervisor` to be never, or always, true, one at a time, in a copy of the tree, and
 * asks the recordings first (seconds), then the tests of `test/regress` and `test/hypervisor` (a minute). What nobody notices is
 * listed. Checks of our own invariants (`throw new HypervisorBug`) are left alone: right code never takes them.
 * Heavy: not part of `npm test`. Ctrl-C ends it with what it has.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import ts from 'typescript';
import { listFiles, ROOT } from './files.mjs';

/** @typedef {{ file: string, line: number, what: 'never' | 'always', start: number, end: number, text: string }} Mutant */
/** @typedef {'tapes' | 'tests' | 'nobody' | 'does not compile'} Verdict */

const ROOM = 'src/hypervisor';
const LEFT_OUT = /^(node_modules|dist|coverage|\.git)(\/|$)/;
const TAPES = ['dist/parallel/src/cli/main.js', 'conform', '--build', 'parallel', '--stop-first', '-q'];
const TESTS = ['node_modules/vitest/vitest.mjs', 'run', 'test/regress', 'test/hypervisor', '--bail', '1'];
/** A mutant may hang; then it was noticed. */
const TAPES_MS = 180_000;
const TESTS_MS = 900_000;

/**
 * Both mutants of every `if` of a file.
 * @param {string} file
 * @returns {Mutant[]}
 */
function mutantsOf(file) {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  /** @type {Mutant[]} */
  const out = [];
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isIfStatement(node) && !node.thenStatement.getText().includes('HypervisorBug')) {
      const start = node.expression.getStart();
      const end = node.expression.getEnd();
      const line = source.getLineAndCharacterOfPosition(start).line + 1;
      for (const what of /** @type {const} */ (['never', 'always'])) {
        out.push({ file, line, what, start, end, text: text.slice(start, end) });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return out;
}

/**
 * `n` of the mutants, drawn by `seed`, in the order of the files.
 * @param {Mutant[]} all
 * @param {number} n
 * @param {number} seed
 */
function sampleOf(all, n, seed) {
  const left = [...all];
  /** @type {Set<Mutant>} */
  const taken = new Set();
  for (let state = seed | 1; taken.size < Math.min(n, all.length);) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    for (const m of left.splice((state >>> 0) % left.length, 1)) taken.add(m);
  }
  return all.filter((m) => taken.has(m));
}

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
let stopped = false;

/**
 * The exit code of a Node process in `cwd`; 1 when it takes too long.
 * @param {string} cwd
 * @param {string[]} args
 * @param {number} ms
 * @returns {Promise<number>}
 */
function node(cwd, args, ms) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd, stdio: 'ignore', timeout: ms, killSignal: 'SIGKILL' });
    running.add(child);
    child.on('close', (code) => {
      running.delete(child);
      resolve(code ?? 1);
    });
  });
}

/**
 * Who notices the mutant in the tree at `root`.
 * @param {string} root
 * @param {Mutant} m
 * @returns {Promise<Verdict>}
 */
async function judge(root, m) {
  const path = join(root, m.file);
  const text = readFileSync(path, 'utf8');
  const condition = m.what === 'never' ? `((${m.text}) && false)` : `((${m.text}) || true)`;
  writeFileSync(path, text.slice(0, m.start) + condition + text.slice(m.end));
  try {
    if ((await node(root, ['build/build.mjs'], TAPES_MS)) !== 0) return 'does not compile';
    if ((await node(root, TAPES, TAPES_MS)) !== 0) return 'tapes';
    return (await node(root, TESTS, TESTS_MS)) !== 0 ? 'tests' : 'nobody';
  } finally {
    writeFileSync(path, text);
  }
}

/** A copy of the tree, so that a run that is killed leaves nothing broken behind. */
function copy() {
  const root = mkdtempSync(join(tmpdir(), 'xenolith-mutate-'));
  cpSync(ROOT, root, { recursive: true, filter: (from) => !LEFT_OUT.test(relative(ROOT, from)) });
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  return root;
}

async function main() {
  const { values } = parseArgs({
    options: {
      files: { type: 'string', default: '' },
      sample: { type: 'string', default: '' },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  const all = listFiles(ROOT, ROOM).filter((f) => f.endsWith('.ts') && f.includes(values.files)).flatMap(mutantsOf); // prettier-ignore
  const chosen = values.sample === '' ? all : sampleOf(all, Number(values.sample), Number(values.seed));
  if (chosen.length === 0) {
    process.stderr.write(`no condition in ${ROOM} files whose path contains '${values.files}'\n`);
    return 2;
  }
  const root = copy();
  process.on('SIGINT', () => {
    stopped = true;
    for (const child of running) child.kill('SIGKILL');
  });
  /** @type {Record<Verdict, number>} */
  const counts = { tapes: 0, tests: 0, nobody: 0, 'does not compile': 0 };
  /** @type {Mutant[]} */
  const survivors = [];
  try {
    if ((await node(root, ['build/build.mjs'], TAPES_MS)) !== 0 || (await node(root, TAPES, TAPES_MS)) !== 0) {
      process.stderr.write('the tree as it is does not pass its own recordings\n');
      return 2;
    }
    for (const [i, m] of chosen.entries()) {
      const verdict = await judge(root, m);
      if (stopped) break;
      counts[verdict]++;
      if (verdict === 'nobody') survivors.push(m);
      process.stderr.write(`[${String(i + 1)}/${String(chosen.length)}] ${m.file}:${String(m.line)} ${m.what}: ${verdict}\n`); // prettier-ignore
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
  const judged = Object.values(counts).reduce((n, c) => n + c, 0);
  const report = { conditions: all.length / 2, mutants: judged, ...counts, survivors };
  const lines = survivors.map((m) => `${m.file}:${String(m.line)}: noticed by nobody when ${m.what} true: ${m.text}`);
  const total = `${String(judged)} mutants: ${String(counts.tapes)} noticed by the recordings, ${String(counts.tests)} by the tests, ${String(counts.nobody)} by nobody`;
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : `${[...lines, total].join('\n')}\n`);
  return stopped || survivors.length > 0 ? 1 : 0;
}

process.exitCode = await main();
