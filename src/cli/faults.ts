/** `xenolith faults`: faults at random, in both builds, until so many were injected; what designs made of them. */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { loadCatalog } from '../lab/catalog.js';
import { faults, type FaultsReport } from '../lab/faults/campaign.js';
import { override } from '../lab/override.js';
import { readScenario } from '../lab/scenario-file.js';
import { SMALL_BUILDS, type SmallBuild } from '../lab/small/job.js';
import type { Scenario } from '../scenario/scenario.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { humanFaults } from './faults-print.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface FaultsFlags {
  readonly faults: number;
  readonly executions: number;
  readonly time?: number;
  readonly seed: number;
  readonly build: SmallBuild | 'both';
  readonly design?: readonly string[];
  readonly workers?: number;
  readonly json?: true;
  readonly quiet?: true;
}

const SHIPPED = new URL('../../guests/scenarios/faults/', import.meta.url);
const LONG = new URL('../../guests/scenarios/teardown.yaml', import.meta.url);
/** Designs that are expected to cope with whatever fails in a whole guest. */
const COPING = ['pre-post', 'private-page', 'notifier-coping', 'notifier-split'];

const EXAMPLES = `
Small scenarios run under random plans of faults and random schedules, in the controlled build and with a thread per vCPU;
each execution is judged, and one in four is taken down to the last frame, as is everything in which something died.
Without files those of guests/scenarios/faults run, and besides them whole guests on threads (teardown.yaml).

Examples:
  $ xenolith faults --faults 100000
  $ xenolith faults --time 60 --build parallel
  $ xenolith faults guests/scenarios/faults/exit.yaml -d notifier --build controlled --seed 7 --executions 1

Exit codes: 0 all as expected and as many as asked for, or the time was up; 1 not, or interrupted; 2 bad input;
3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addFaults(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('faults')
    .description('inject faults at random in both builds, until so many were injected')
    .argument('[files...]', 'small scenarios (YAML); those of guests/scenarios/faults unless named')
    .option('--faults <n>', 'how many, shared by all designs', whole(1, 1_000_000_000), 1_000_000)
    .option('--executions <n>', 'of each design of each scenario at most', whole(1, 1_000_000_000), 1_000_000_000)
    .option('--time <s>', 'seconds after which it ends', whole(1, 1_000_000))
    .option('--seed <n>', 'seed of the first execution; each later one takes the next', whole(0, 0xffffffff), 1)
    .addOption(new Option('--build <name>', 'which build').choices([...SMALL_BUILDS, 'both']).default('both'))
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--workers <n>', 'threads (default: one a core)', whole(1, 64))
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], flags: FaultsFlags) => {
      done(await campaign(files, flags, t));
    });
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

function shipped(): string[] {
  const names = readdirSync(SHIPPED).filter((f) => f.endsWith('.yaml'));
  return names.sort().map((f) => fileURLToPath(new URL(f, SHIPPED)));
}

async function campaign(files: readonly string[], flags: FaultsFlags, t: Terminal): Promise<number> {
  const catalog = loadCatalog();
  const known = catalog.designs.map((d) => d.name);
  const designs = flags.design === undefined ? {} : { designs: flags.design };
  const read = (file: string, over: typeof designs): Scenario => override(readScenario(file, catalog), over, known);
  const small = (files.length > 0 ? files : shipped()).map((f) => read(f, designs));
  const coping = COPING.filter((d) => flags.design?.includes(d) ?? true);
  const long = files.length > 0 || coping.length === 0 ? [] : [read(fileURLToPath(LONG), { designs: coping })];
  const began = performance.now();
  const time = flags.time === undefined ? undefined : AbortSignal.timeout(flags.time * 1000);
  let interrupted = false;
  const report = await interruptible(t, (stop) => {
    stop.addEventListener('abort', () => (interrupted = true));
    return faults(small, long, {
      catalog,
      faults: flags.faults,
      executions: flags.executions,
      seed: flags.seed,
      builds: flags.build === 'both' ? SMALL_BUILDS : [flags.build],
      workers: flags.workers ?? availableParallelism(),
      stop: time === undefined ? stop : AbortSignal.any([stop, time]),
      onProgress: (n, done, of) => {
        if (flags.quiet === true) return;
        t.status(`${count(n)} of ${count(flags.faults)} faults, ${String(done)} of ${String(of)} parts done`);
      },
    });
  });
  const seconds = Math.round((performance.now() - began) / 1000);
  t.status('');
  t.out(
    flags.json === true
      ? `${JSON.stringify({ ...report, seconds }, null, 2)}\n`
      : humanFaults(report, seconds, t.columns),
  );
  return good(report, flags, interrupted) ? EXIT_OK : EXIT_UNEXPECTED;
}

function good(r: FaultsReport, flags: FaultsFlags, interrupted: boolean): boolean {
  if (r.unexpected > 0 || interrupted || r.rows.some((x) => x.lost !== '')) return false;
  return r.complete || flags.time !== undefined || flags.executions < 1_000_000_000;
}
