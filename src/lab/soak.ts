/**
 * The soak: scenarios over and over with changing seeds, each run a process of its own, until the time is up.
 *
 * Invariant: ends within its time and the bound of one run: a run that outlives its bound is killed and counts as a hang.
 * Lock: none.
 */
import { spawn } from 'node:child_process';

export interface SoakRun {
  readonly file: string;
  readonly seed: number;
  /** Exit code of the run; null when it was killed, by its bound or otherwise. */
  readonly code: number | null;
  readonly hung: boolean;
  /** Ended by the interruption, before it could be as expected. */
  readonly stopped: boolean;
  readonly seconds: number;
  /** `design verdict` of each design that was not as expected. */
  readonly unexpected: readonly string[];
  readonly designs: number;
  readonly hypercalls: number;
}

export interface SoakOptions {
  /** The command line's own script, which runs one scenario. */
  readonly script: string;
  readonly files: readonly string[];
  readonly minutes: number;
  readonly firstSeed: number;
  readonly boundSeconds: number;
  readonly stop: AbortSignal;
  readonly onRun: (r: SoakRun) => void;
}

/** Runs until the time is up, or `stop` is aborted; every file gets at least one run unless stopped. */
export async function soak(o: SoakOptions): Promise<SoakRun[]> {
  const deadline = performance.now() + o.minutes * 60_000;
  const runs: SoakRun[] = [];
  for (let i = 0; !o.stop.aborted; i++) {
    if (i >= o.files.length && performance.now() >= deadline) break;
    const file = o.files[i % o.files.length];
    if (file === undefined) break;
    const run = await soakRun(o, file, (o.firstSeed + i) >>> 0);
    runs.push(run);
    o.onRun(run);
  }
  return runs;
}

interface JsonReport {
  readonly designs: readonly {
    readonly design: string;
    readonly verdict: string;
    readonly expected: boolean;
    readonly counters: Readonly<Record<string, number>>;
  }[];
}

async function soakRun(o: SoakOptions, file: string, seed: number): Promise<SoakRun> {
  const began = performance.now();
  const { code, hung, output } = await child(o, ['run', file, '--json', '--quiet', '--seed', String(seed)]);
  const report = parsed(output);
  const designs = report?.designs ?? [];
  return {
    file,
    seed,
    code,
    hung,
    stopped: o.stop.aborted && code !== 0,
    seconds: (performance.now() - began) / 1000,
    unexpected: designs.filter((d) => !d.expected).map((d) => `${d.design} ${d.verdict}`),
    designs: designs.length,
    hypercalls: designs.reduce((n, d) => n + (d.counters['hypercalls'] ?? 0), 0),
  };
}

function child(
  o: SoakOptions,
  args: readonly string[],
): Promise<{ code: number | null; hung: boolean; output: string }> {
  return new Promise((resolve) => {
    // In a process group of its own: a Ctrl-C comes from here, once. It does not outlive this process.
    const p = spawn(process.execPath, ['--enable-source-maps', o.script, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    const onExit = (): boolean => p.kill('SIGKILL');
    process.on('exit', onExit);
    let output = '';
    let hung = false;
    p.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const timer = setTimeout(() => {
      hung = true;
      p.kill('SIGKILL');
    }, o.boundSeconds * 1000);
    const onStop = (): boolean => p.kill('SIGINT');
    o.stop.addEventListener('abort', onStop);
    p.on('close', (code) => {
      clearTimeout(timer);
      process.off('exit', onExit);
      o.stop.removeEventListener('abort', onStop);
      resolve({ code, hung, output });
    });
  });
}

function parsed(output: string): JsonReport | undefined {
  try {
    return JSON.parse(output) as JsonReport;
  } catch {
    return undefined;
  }
}
