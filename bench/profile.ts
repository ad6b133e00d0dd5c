/**
 * Where the time of one JavaScript side goes: `npm run bench:native -- ROW --profile`.
 *
 * V8's sampling profiler from the start, so that it sees all code; what it saw before the side was warm does
 * not count. Runs and resets start from the microtask queue, so each has a stack of its own, and only runs are shown. What
 * V8 inlines counts for the function that it is inlined into; `wasm-function[n]` is the nth function of src/ops/shim.wat or
 * of src/machine/kernels/kernels.wat, from 0.
 */
import { Session, type Profiler } from 'node:inspector';
import type { Measure, Prepare } from './measure.js';

const WARM_MS = 1500;
const TAKE_MS = 3000;
const INTERVAL_US = 150;
const LEAST = 0.01;
const GC = '(garbage collector)';

async function repeat(measure: Measure, ms: number): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    await Promise.resolve().then(measure.reset);
    await Promise.resolve().then(measure.run);
  }
}

/** Samples per function by where they were taken, of those at or after `from` (microseconds). */
function selfTimes(profile: Profiler.Profile, from: number): Map<string, number> {
  const names = new Map<number, string>();
  const nodes = new Map(profile.nodes.map((n) => [n.id, n]));
  const visit = (id: number, inRun: boolean): void => {
    const { callFrame: f, children } = nodes.get(id) as Profiler.ProfileNode;
    if (f.functionName === 'reset') return;
    const inside = inRun || f.functionName === 'run' || f.functionName === GC;
    const file = f.url.replace(/^.*\/dist\/(bench\/)?/, '');
    if (inside) names.set(id, `${f.functionName || '(anonymous)'}  ${file}`);
    children?.forEach((c) => {
      visit(c, inside);
    });
  };
  visit((profile.nodes[0] as Profiler.ProfileNode).id, false);
  const counts = new Map<string, number>();
  let time = profile.startTime;
  profile.samples?.forEach((id, i) => {
    time += profile.timeDeltas?.[i] ?? 0;
    const name = names.get(id);
    if (name !== undefined && time >= from) counts.set(name, (counts.get(name) ?? 0) + 1);
  });
  return counts;
}

function print(counts: Map<string, number>): void {
  const all = [...counts.values()].reduce((a, b) => a + b, 0);
  process.stdout.write(`  ${String(all)} samples in the measured runs; self time, inlined calls included\n`);
  for (const [name, n] of [...counts].sort((a, b) => b[1] - a[1])) {
    if (n < all * LEAST) break;
    process.stdout.write(`  ${((100 * n) / all).toFixed(1).padStart(5)} %  ${name}\n`);
  }
}

const [, , name, arg] = process.argv;
const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', { interval: INTERVAL_US });
session.post('Profiler.start');
const module = (await import(`./${name ?? ''}.js`)) as { prepare: Prepare };
const measure = await module.prepare(arg ?? '');
await repeat(measure, WARM_MS);
const warm = Number(process.hrtime.bigint() / 1000n);
await repeat(measure, TAKE_MS);
session.post('Profiler.stop', (error, result) => {
  if (error !== null) throw error;
  print(selfTimes(result.profile, warm));
});
process.exit(0);
