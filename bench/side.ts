/** The process of one JavaScript side: for every line it is sent, one measurement: `<ns per op> <checksum>`. */
import { createInterface } from 'node:readline';
import type { Measure, Prepare } from './measure.js';

/** As in bench/c/machine.h. */
const RUNS = 5;
const [, , name, arg] = process.argv;
const module = (await import(`./${name ?? ''}.js`)) as { prepare: Prepare };
const measure: Measure = await module.prepare(arg ?? '');

/** The best of a few runs: what other processes take from one of them is nobody's cost. */
async function once(): Promise<string> {
  let best = Infinity;
  let sum = 0;
  for (let i = 0; i < RUNS; i++) {
    measure.reset?.();
    const start = process.hrtime.bigint();
    sum = await measure.run();
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  }
  if (measure.check !== undefined) sum = measure.check();
  return `${String(best / measure.ops)} ${String(sum | 0)}`;
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break;
  process.stdout.write(`${await once()}\n`);
}
process.exit(0);
