/** Runs rows: two processes a row, asked in turn; prints medians, ratio and goal. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROWS, type Row } from './rows.js';

const ROUNDS = 9;
const USAGE = 'npm run bench:native [-- operation ...] [-- --json] [-- --rounds n (at least 9)] [-- --profile]';
const WARM_UP = 10;
/** The spread seen between runs on this kind of machine; a goal counts as missed beyond it. */
const MARGIN = 1.15;

interface Options {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly rounds: number;
  /** Instead of measuring: where our side's time goes. */
  readonly profile: boolean;
}

export interface Result {
  readonly operation: string;
  readonly question: string;
  /** Nanoseconds per operation, medians; null: not measured. */
  readonly oursNs: number | null;
  readonly nativeNs: number | null;
  /** Median of the rounds' ratios; for rows without C, of the row's own reference. */
  readonly ratio: number | null;
  /** Of the ratio; of rows without a reference, nanoseconds; of throughput, the least. */
  readonly goal: number | null;
  /** Without the margin; null: no goal, or no compiler. */
  readonly met: boolean | null;
  readonly verdict: 'within' | 'margin' | 'missed' | 'no goal' | 'no gcc: skipped';
}

function parse(argv: readonly string[]): Options {
  const names: string[] = [];
  let json = false;
  let rounds = ROUNDS;
  let profile = false;
  for (let i = 0; i < argv.length; i++) {
    const a = argv[i] as string;
    if (a === '--json') json = true;
    else if (a === '--profile') profile = true;
    else if (a === '--rounds') rounds = Number(argv[++i]);
    else if (a.startsWith('-')) throw new RangeError(`unknown flag ${a}: ${USAGE}`);
    else names.push(a);
  }
  if (!(rounds >= ROUNDS)) throw new RangeError(`too few rounds: ${USAGE}`);
  return { names, json, rounds, profile };
}

/** One side, as a process that answers a line per line. */
class Side {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[], env: Record<string, string>) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  async ask(): Promise<{ ns: number; sum: string }> {
    this.#child.stdin!.write('go\n');
    const line: IteratorResult<string, unknown> = await this.#lines.next();
    if (line.done === true) throw new Error('a side of the row ended early');
    const [ns, sum] = line.value.split(' ');
    return { ns: Number(ns), sum: sum ?? '' };
  }

  end(): void {
    this.#child.stdin!.end('end\n');
  }
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1] ?? NaN;
const hasGcc = (): boolean => spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0;

/** Compiles the C twin; answers the executable. */
function compileC(root: string, name: string): string {
  const dir = join(root, 'dist/bench/c');
  mkdirSync(dir, { recursive: true });
  const exe = join(dir, name);
  const args = ['-O2', '-march=native', '-pthread', '-Wall', '-o', exe, join(root, 'bench/c', `${name}.c`)];
  const done = spawnSync('gcc', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  if (done.status !== 0) throw new Error(`gcc does not compile bench/c/${name}.c`);
  return exe;
}

async function runRow(row: Row, root: string, rounds: number, gcc: boolean): Promise<Result> {
  const head = { operation: row.name, question: row.question, goal: row.goal ?? null };
  if (row.c !== undefined && !gcc) {
    return { ...head, oursNs: null, nativeNs: null, ratio: null, met: null, verdict: 'no gcc: skipped' };
  }
  const script = join(root, 'dist/bench', row.build, 'side.js');
  if (!existsSync(script)) throw new Error('the benches are not compiled');
  const env = { XENOLITH_MEMORY_MIB: String(row.mib ?? 16) };
  const js = new Side(process.execPath, [script, row.side, row.arg ?? ''], env);
  const reference =
    row.c !== undefined
      ? new Side(compileC(root, row.c), [row.cArg ?? row.arg ?? '', env.XENOLITH_MEMORY_MIB], {})
      : row.against !== undefined
        ? new Side(process.execPath, [script, row.side, row.against], env)
        : undefined;
  try {
    return { ...head, ...(await rate(row, js, reference, rounds)) };
  } finally {
    js.end();
    reference?.end();
  }
}

async function rate(
  row: Row,
  js: Side,
  reference: Side | undefined,
  rounds: number,
): Promise<Pick<Result, 'oursNs' | 'nativeNs' | 'ratio' | 'met' | 'verdict'>> {
  const own: number[] = [];
  const theirs: number[] = [];
  const ratios: number[] = [];
  for (let i = -WARM_UP; i < rounds; i++) {
    const a = await js.ask();
    const b = await reference?.ask();
    if (b !== undefined && row.c !== undefined && a.sum !== b.sum) {
      throw new Error(`${row.name}: the sides computed ${a.sum} and ${b.sum}`);
    }
    if (i < 0) continue;
    own.push(a.ns);
    if (b === undefined) continue;
    theirs.push(b.ns);
    ratios.push(row.throughput === true ? b.ns / a.ns : a.ns / b.ns);
  }
  const ratio = ratios.length === 0 ? null : median(ratios);
  const value = row.absolute === true ? median(own) : ratio;
  const verdict = judge(row, value);
  const met = verdict === 'no goal' ? null : verdict === 'within';
  return { oursNs: median(own), nativeNs: theirs.length === 0 ? null : median(theirs), ratio, met, verdict };
}

function judge(row: Row, value: number | null): Result['verdict'] {
  if (row.goal === undefined || value === null) return 'no goal';
  const excess = row.throughput === true ? row.goal / value : value / row.goal;
  return excess <= 1 ? 'within' : excess <= MARGIN ? 'margin' : 'missed';
}

const WIDTH = 32;
const number = (x: number | null): string => (x === null || Number.isNaN(x) ? '-' : x.toPrecision(3));

function print(r: Result): void {
  const cells = [r.operation.padEnd(WIDTH), ...[r.oursNs, r.nativeNs, r.ratio].map((x) => number(x).padStart(9))];
  const perSecond =
    r.nativeNs === null && r.oursNs !== null ? `  ${Math.round(1e9 / r.oursNs).toLocaleString('en-US')}/s` : '';
  process.stdout.write(`${cells.join(' ')} ${number(r.goal).padStart(9)}  ${r.verdict}${perSecond}\n`);
}

/** Prints our side's profile of a row (bench/profile.ts). */
function profileRow(row: Row, root: string): boolean {
  process.stdout.write(`${row.name}\n`);
  const script = join(root, 'dist/bench', row.build, 'profile.js');
  const env = { ...process.env, XENOLITH_MEMORY_MIB: String(row.mib ?? 16) };
  return spawnSync(process.execPath, [script, row.side, row.arg ?? ''], { stdio: 'inherit', env }).status === 0;
}

/** Runs the rows whose name contains one of the words given (all of them without any). Answers the exit code. */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const { names, json, rounds, profile } = parse(argv);
  const rows = ROWS.filter((r) => names.length === 0 || names.some((n) => r.name.includes(n)));
  if (profile) return rows.length > 0 && rows.every((row) => profileRow(row, root)) ? 0 : 1;
  const gcc = hasGcc();
  if (!gcc) process.stderr.write('no gcc: rows that are measured against C are skipped\n');
  if (!json) {
    const titles = ['ours ns', 'native ns', 'ratio', 'goal'].map((t) => t.padStart(9)).join(' ');
    process.stdout.write(`${'operation'.padEnd(WIDTH)} ${titles}\n`);
  }
  const results: Result[] = [];
  for (const row of rows) {
    const r = await runRow(row, root, rounds, gcc);
    results.push(r);
    if (!json) print(r);
  }
  if (json) process.stdout.write(`${JSON.stringify({ rounds, rows: results }, null, 2)}\n`);
  return results.length === 0 ? 1 : 0;
}
