/** `xenolith hostile`: a fuzzing guest beside normal ones, for as long as wanted; the others must not notice. */
import { fileURLToPath } from 'node:url';
import { Option, type Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { loadCatalog } from '../lab/catalog.js';
import {
  HOSTILE_BUILDS,
  hostileCampaign,
  type HostileBuild,
  type HostileReport,
  type HostileRun,
} from '../lab/hostile/campaign.js';
import { override } from '../lab/override.js';
import { DEFAULT_BOUNDS } from '../lab/run/design-run.js';
import { readScenario } from '../lab/scenario-file.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { hostileText } from './hostile-print.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface HostileFlags {
  readonly minutes: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly seed: number;
  readonly build: HostileBuild | 'both';
  readonly design?: readonly string[];
  readonly twin?: string;
  readonly json?: true;
  readonly quiet?: true;
}

const SHIPPED = fileURLToPath(new URL('../../guests/scenarios/hostile.yaml', import.meta.url));
const EXAMPLES = `
A hostile domain has no kernel: its vCPUs make random calls, valid and not, over their own tables, grant entries and
arguments while these are in use; it offers rings to the normal domains and serves theirs, breaks off, sends events in
storms, dies, and is built anew under another number. When a run is over the hypervisor's invariants are audited with the
hostile domain still there, it is destroyed, the normal domains are audited as in any run, and everything is taken down:
every frame must be back. Each run takes the next design and the next seed.

Examples:
  $ xenolith hostile --minutes 2
  $ xenolith hostile -d notifier-split --build controlled --seed 7 --minutes 1
  $ xenolith hostile --twin unmap-no-flush --minutes 1

Exit codes: 0 the others did not notice, 1 they did, or nothing was met, or interrupted, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addHostile(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('hostile')
    .description('a fuzzing guest beside normal ones, for as long as wanted; the others must not notice')
    .argument('[file]', 'a scenario (YAML) with a hostile domain; guests/scenarios/hostile.yaml unless named')
    .option('--minutes <n>', 'how long', whole(1, 100_000), 60)
    .option('--seconds <n>', 'of one run on threads', whole(1, 3600), 10)
    .option('--rounds <n>', 'rounds of work of each thread in one run of the controlled build', whole(1, 1000), 1)
    .option('--seed <n>', 'seed of the first run; each later one takes the next', whole(0, 0x7fffffff), 1)
    .addOption(new Option('--build <build>', 'which build').choices([...HOSTILE_BUILDS, 'both']).default('both'))
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--twin <name>', 'a rule that the hypervisor breaks on purpose')
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string | undefined, flags: HostileFlags) => {
      done(await hostile(file ?? SHIPPED, flags, t));
    });
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

async function hostile(file: string, flags: HostileFlags, t: Terminal): Promise<number> {
  const catalog = loadCatalog();
  const known = catalog.designs.map((d) => d.name);
  const changes = {
    ...(flags.design === undefined ? {} : { designs: flags.design }),
    ...(flags.twin === undefined ? {} : { twin: flags.twin }),
  };
  const scenario = override(readScenario(file, catalog), changes, known);
  if (scenario.domains.every((d) => d.hostile === undefined)) {
    throw new LabError('NOT_HOSTILE', `scenario '${scenario.name}' has no hostile domain`, {
      hint: "give a domain 'hostile: true', as guests/scenarios/hostile.yaml does",
    });
  }
  const report = await interruptible(t, (stop) =>
    hostileCampaign(scenario, {
      catalog,
      builds: flags.build === 'both' ? ['parallel', 'controlled'] : [flags.build],
      minutes: flags.minutes,
      seconds: flags.seconds,
      rounds: flags.rounds,
      seed: flags.seed,
      bounds: DEFAULT_BOUNDS,
      stop,
      onRun: (r, so) => {
        if (flags.quiet !== true) progress(t, r, so);
      },
    }),
  );
  t.status('');
  t.out(flags.json === true ? `${JSON.stringify(report, null, 2)}\n` : hostileText(report, file));
  return report.complete ? EXIT_OK : EXIT_UNEXPECTED;
}

function progress(t: Terminal, r: HostileRun, so: HostileReport): void {
  const line = `${count(so.seconds)} s, ${count(so.runs)} runs, ${count(so.hostile?.calls ?? 0)} hostile calls; ${r.design} (${r.build}): ${r.verdict}`;
  if (t.live) t.status(line);
  else t.err(line);
}
