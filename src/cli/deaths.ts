/** `xenolith deaths`: vCPUs and domains die at random points; whatever they leave must be reclaimed, to the last frame. */
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { loadCatalog } from '../lab/catalog.js';
import { deaths, type DeathsReport } from '../lab/deaths/campaign.js';
import { SMALL_BUILDS, type SmallBuild } from '../lab/small/job.js';
import { override } from '../lab/override.js';
import { readScenario } from '../lab/scenario-file.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface DeathsFlags {
  readonly deaths: number;
  readonly seed: number;
  readonly build: SmallBuild | 'both';
  readonly design?: readonly string[];
  readonly workers?: number;
  readonly json?: true;
  readonly quiet?: true;
}

const SHIPPED = new URL('../../guests/scenarios/faults/', import.meta.url);
const EXAMPLES = `
Each death is one execution of a small scenario under a schedule of its own: a vCPU dies, or the control plane destroys a
domain, in guest code anywhere (its guest's locks held) or inside a hypercall at the next preemption check. The control
plane reclaims the domain while the others run, or afterwards; survivors are audited, then every domain is destroyed with
an audit after each, and every frame must be back; a destroyed domain is a zombie exactly as long as somebody refers to
its memory. In the controlled build the seed decides everything; in the parallel one every vCPU is a thread, and the seed
decides who dies where.

Examples:
  $ xenolith deaths
  $ xenolith deaths guests/scenarios/small/fork-exit.yaml --deaths 500 --seed 7
  $ xenolith deaths --build parallel --deaths 2000
  $ xenolith deaths --design notifier-split --json

Exit codes: 0 everything reclaimed, 1 not, or interrupted, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addDeaths(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('deaths')
    .description('vCPUs and domains die at random points; everything they leave must be reclaimed')
    .argument('[files...]', 'small scenarios (YAML); those of guests/scenarios/faults unless named')
    .option('--deaths <n>', 'how many, shared by all designs', whole(1, 100_000_000), 10_000)
    .option('--seed <n>', 'seed of the first death; each later one takes the next', whole(0, 0x7fffffff), 1)
    .addOption(new Option('--build <name>', 'which build').choices([...SMALL_BUILDS, 'both']).default('both'))
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--workers <n>', 'threads (default: one a core)', whole(1, 64))
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], flags: DeathsFlags) => {
      done(await kill(files.length > 0 ? files : shipped(), flags, t));
    });
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

function shipped(): string[] {
  const names = readdirSync(SHIPPED).filter((f) => f.endsWith('.yaml'));
  return names.sort().map((f) => fileURLToPath(new URL(f, SHIPPED)));
}

async function kill(files: readonly string[], flags: DeathsFlags, t: Terminal): Promise<number> {
  const catalog = loadCatalog();
  const known = catalog.designs.map((d) => d.name);
  const designs = flags.design === undefined ? {} : { designs: flags.design };
  const scenarios = files.map((f) => override(readScenario(f, catalog), designs, known));
  const report = await interruptible(t, (stop) =>
    deaths(scenarios, {
      deaths: flags.deaths,
      seed: flags.seed,
      builds: flags.build === 'both' ? SMALL_BUILDS : [flags.build],
      workers: flags.workers ?? availableParallelism(),
      stop,
      onProgress: (n) => {
        if (flags.quiet !== true) t.status(`${count(n)} of ${count(flags.deaths)} deaths`);
      },
    }),
  );
  t.status('');
  t.out(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : text(report));
  return report.complete ? EXIT_OK : EXIT_UNEXPECTED;
}

function text(r: DeathsReport): string {
  const designs = new Set(r.rows.map((x) => x.design)).size;
  const failed = r.rows.filter((x) => x.failure !== undefined);
  const lost = r.rows.filter((x) => x.lost !== '');
  const few = r.rows.filter((x) => x.failure === undefined && x.lost === '' && x.refused === '' && x.deaths < x.asked);
  const lines = [
    ...SMALL_BUILDS.flatMap((b) => buildLine(b, r)),
    `${count(r.deaths)} deaths under ${count(designs)} designs: ${count(r.vcpus)} of a vCPU, ${count(r.domains)} of a domain`,
    `${count(r.lockHeld)} with locks of the guest held, ${count(r.beside)} reclaimed while the others ran`,
    `${count(r.zombies)} looks at a zombie, each of which somebody referred to, and which went with the last reference`,
    ...r.rows.filter((x) => x.refused !== '').map((x) => `${nameOf(x)} refuses: ${x.refused}`),
    ...few.map((x) => `${nameOf(x)}: ${count(x.deaths)} of ${count(x.asked)} deaths`),
    ...lost.map((x) => `${nameOf(x)}, seeds from ${String(x.seed)}: NO VERDICT: ${x.lost}`),
    ...failed.flatMap((x) => [
      `${nameOf(x)}, seed ${String(x.failure?.seed ?? 0)}, ${x.failure?.site ?? ''}:`,
      ...(x.failure?.wrong ?? []).map((w) => `  ${w}`),
      `  again${x.build === 'parallel' ? ', as far as threads repeat themselves' : ''}: ${again(x)}`,
    ]),
    failed.length > 0 ? 'not everything was reclaimed' : 'every domain and every frame was reclaimed',
    ...(r.complete || failed.length > 0 ? [] : ['but not all that was asked for was done']),
  ];
  return `${lines.join('\n')}\n`;
}

type Row = DeathsReport['rows'][number];
const nameOf = (x: Row): string => `${x.scenario} under ${x.design}, ${x.build}`;
const again = (x: Row): string =>
  `xenolith deaths ${x.scenario}.yaml --build ${x.build} -d ${x.design} --deaths 1 --seed ${String(x.failure?.seed ?? 0)}`;

function buildLine(build: SmallBuild, r: DeathsReport): string[] {
  const n = r.rows.filter((x) => x.build === build).reduce((sum, x) => sum + x.deaths, 0);
  return r.rows.some((x) => x.build === build) ? [`${build} build: ${count(n)} deaths`] : [];
}
