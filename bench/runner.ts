/** Runs rows: two processes a row, asked in turn; prints medians, ratio and goal. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROWS, type Row } from './rows.js';

const ROUNDS = 9;
const WARM_UP = 10;
/** The spread seen between runs on this kind of machine; a goal counts as missed beyond it. */
const MARGIN = 1.15;

interface Options {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly rounds: number;
}

export interface Result {
  readonly name: string;
  readonly question: string;
  /** Nanoseconds per operation, medians. */
  readonly ns: number;
  readonly cNs: number | null;
  /** Median of the rounds' ratios; for rows without C, of the row's own reference. */
  readonly ratio: number | null;
  readonly goal: number | null;
  readonly verdict: 'within' | 'margin' | 'missed' | 'no goal' | 'no gcc: skipped';
}

function parse(argv: readonly string[]): Options {
  const names: string[] = [];
  let json = false;
  let rounds = ROUNDS;
  for (let i = 0; i < argv.length; i++) {
    const a = argv[i] as string;
    if (a === '--json') json = true;
    else if (a === '--rounds') rounds = Number(argv[++i]);
    else names.push(a);
  }
  return { names, json, rounds };
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
  const head = { name: row.name, question: row.question, goal: row.goal ?? null };
  if (row.c !== undefined && !gcc) return { ...head, ns: NaN, cNs: null, ratio: null, verdict: 'no gcc: skipped' };
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
): Promise<Pick<Result, 'ns' | 'cNs' | 'ratio' | 'verdict'>> {
  const own: number[] = [];
  const theirs: number[] = [];
  const ratios: number[] = [];
  for (let i = -WARM_UP; i < rounds; i++) {
    const a = await js.ask();
    const b = await reference?.ask();
    if (b !== undefined && row.sameSum === true && a.sum !== b.sum) {
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
  return { ns: median(own), cNs: theirs.length === 0 ? null : median(theirs), ratio, verdict: judge(row, value) };
}

function judge(row: Row, value: number | null): Result['verdict'] {
  if (row.goal === undefined || value === null) return 'no goal';
  const excess = row.throughput === true ? row.goal / value : value / row.goal;
  return excess <= 1 ? 'within' : excess <= MARGIN ? 'margin' : 'missed';
}

const number = (x: number | null): string => (x === null || Number.isNaN(x) ? '-' : x.toPrecision(3));

function print(r: Result): void {
  const cells = [r.name.padEnd(28), number(r.ns).padStart(9), number(r.cNs).padStart(9), number(r.ratio).padStart(7)];
  process.stdout.write(`${cells.join(' ')}  ${number(r.goal).padStart(5)}  ${r.verdict}\n`);
}

/** Runs the rows whose name contains one of the words given (all of them without any). Answers the exit code. */
export async function main(argv: readonly string[], root: string): Promise<number> {
  const { names, json, rounds } = parse(argv);
  const rows = ROWS.filter((r) => names.length === 0 || names.some((n) => r.name.includes(n)));
  const gcc = hasGcc();
  if (!json)
    process.stdout.write(`${'row'.padEnd(28)} ${'ns/op'.padStart(9)} ${'reference'.padStart(9)}   ratio   goal\n`);
  const results: Result[] = [];
  for (const row of rows) {
    const r = await runRow(row, root, rounds, gcc);
    results.push(r);
    if (!json) print(r);
  }
  if (json) process.stdout.write(`${JSON.stringify({ rounds, results }, null, 2)}\n`);
  return results.length === 0 ? 1 : 0;
}
