/** `xenolith explore`: the schedules of a small scenario, searched under its designs. */
import { Option, type Command } from 'commander';
import { availableParallelism } from 'node:os';
import type { Catalog } from '../abi/catalog.js';
import { LabError } from '../abi/errors.js';
import { loadCatalog } from '../lab/catalog.js';
import { allExplored, explore, planOf, type ExploreOptions } from '../lab/explore/explore.js';
import { fromToken } from '../lab/explore/from.js';
import type { PrefixSpec } from '../lab/explore/messages.js';
import { readStand, writeStand } from '../lab/explore/resume-file.js';
import {
  DEFAULT_PREEMPTIONS,
  STRATEGIES,
  type StrategyName,
  type StrategySpec,
} from '../lab/explore/strategy-names.js';
import { parseFault } from '../lab/inject/spec.js';
import { override } from '../lab/override.js';
import type { Scenario } from '../scenario/scenario.js';
import { readScenario } from '../lab/scenario-file.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { exploreHeading, exploreJson, exploreReport } from './explore-print.js';
import { ExploreProgress } from './explore-progress.js';
import { interruptible } from './interrupt.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';
import { mustBeWritable } from './writable.js';

interface ExploreFlags {
  readonly design?: readonly string[];
  readonly twin?: string;
  readonly strategy: StrategyName;
  readonly preemptions?: number;
  readonly fault?: readonly string[];
  readonly faults?: number;
  readonly executions?: number;
  readonly time?: number;
  readonly workers?: number;
  readonly seed: number;
  readonly depth: number;
  readonly resume?: string;
  readonly from?: string;
  readonly classes?: true;
  readonly stepChecks: boolean;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLES = `
Strategies:
  bounded      every schedule of at most --preemptions, but for those that cannot differ (the default, 2 preemptions)
  dpor         every schedule, but for those that cannot differ
  naive        every schedule, of at most --preemptions if given; the oracle of the two above
  random       random walk: at every point everybody has the same chance
  uniform      random walk that makes every interleaving about equally likely
  pct          random priorities that change --depth - 1 times
  round-robin  one schedule, a switch at every point

With --from every execution begins with the first steps of a token of the same scenario and code, and goes on as the
strategy says: preemptions and faults are counted after them. Design, twin, faults and what was left out are the token's.

Without --executions and --time a design is searched for a minute.

Faults: each --fault is a rule, as inject takes it, and so is each of the scenario's faults. All that the rules say happen,
unless --faults says at most how many (or the scenario has 'fault' among its choices): then every schedule is searched
with every such choice of them. A rule counts for each vCPU by itself.

Examples:
  $ xenolith explore guests/scenarios/small/exit-revoke.yaml
  $ xenolith explore guests/scenarios/small/exit-lazy.yaml --design early-unpin
  $ xenolith explore guests/scenarios/small/munmap-fault.yaml --strategy pct --depth 3 --executions 100000 --json
  $ xenolith explore guests/scenarios/small/exit-revoke.yaml --fault gnttab.unmap --faults 1 --preemptions 1
  $ xenolith explore guests/scenarios/small/exit-lazy.yaml --from x1.0f3a…:400 --strategy random

Exit codes: 0 everything as expected, 1 not, or interrupted, 2 bad input, 3 the laboratory broke.
`;

const DEFAULT_SECONDS = 60;

/** Adds the command; `done` receives the exit code. */
export function addExplore(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('explore')
    .description('search the schedules of a small scenario, shrink and print what breaks')
    .argument('<file>', "scenario (YAML) with a 'small' section")
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--twin <name>', 'search a hypervisor that breaks one rule, such as xsa-401')
    .addOption(new Option('-s, --strategy <name>', 'how schedules are chosen').choices(STRATEGIES).default('bounded'))
    .option('-p, --preemptions <n>', 'most preemptions of a schedule (bounded: 2 unless said)', whole(0, 1000))
    .option('--fault <site:key=value,…>', 'a fault that happens, or may with --faults; several times', collect)
    .option('--faults <n>', 'the schedule says which faults happen, at most so many', whole(0, 100))
    .option('-n, --executions <n>', 'most executions of a design', whole(1, 0xffffffff))
    .option('--time <s>', 'most seconds of a design', whole(1, 86_400))
    .option('-w, --workers <n>', 'search threads', whole(1, 256))
    .option('--seed <n>', 'seed of strategies that draw', whole(0, 0xffffffff), 1)
    .option('--depth <d>', 'bug depth of pct', whole(1, 100), 3)
    .option('--resume <file>', 'go on where that file stands, and write it at the end')
    .option('--from <token[:steps]>', "go on after a token's first steps (all of them unless said)")
    .option('--classes', 'count equivalence classes (slower)')
    .option('--no-step-checks', 'only the audit at the end of each execution (faster)')
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, flags: ExploreFlags) => {
      done(await run(file, flags, t));
    });
}

function specOf(flags: ExploreFlags, { small }: Scenario): StrategySpec {
  const preemptions = flags.preemptions ?? (flags.strategy === 'bounded' ? DEFAULT_PREEMPTIONS : undefined);
  const chosen = small?.choices.includes('fault') === true ? small.faults : undefined;
  return {
    strategy: flags.strategy,
    preemptions,
    seed: flags.seed,
    depth: flags.depth,
    faults: flags.faults ?? chosen,
  };
}

/** The scenario as the flags change it, or as the token does that the search goes on from. */
function subjectOf(file: string, flags: ExploreFlags, catalog: Catalog): { scenario: Scenario; prefix?: PrefixSpec } {
  if (flags.from !== undefined) {
    if (flags.resume !== undefined) {
      throw new LabError('BAD_FLAG', '--from and --resume both say where the search begins', { hint: 'leave out one' });
    }
    const beside = { designs: flags.design, twin: flags.twin, faults: flags.fault !== undefined };
    return fromToken(flags.from, file, beside, catalog);
  }
  const designs = {
    ...(flags.design === undefined ? {} : { designs: flags.design }),
    ...(flags.twin === undefined ? {} : { twin: flags.twin }),
    ...(flags.fault === undefined ? {} : { faults: flags.fault.map(parseFault) }),
  };
  return { scenario: override(readScenario(file, catalog), designs, catalog.designs.map((d) => d.name)) }; // prettier-ignore
}

async function run(file: string, flags: ExploreFlags, t: Terminal): Promise<number> {
  const catalog = loadCatalog();
  const { scenario, prefix } = subjectOf(file, flags, catalog);
  const spec = specOf(flags, scenario);
  if (flags.faults !== undefined && scenario.faults.length === 0) {
    throw new LabError('BAD_FLAG', 'no fault is named that could happen', {
      hint: '--fault SITE; inject --list has them',
    });
  }
  const unlimited = flags.executions === undefined && flags.time === undefined;
  const seconds = flags.time ?? (unlimited ? DEFAULT_SECONDS : undefined);
  planOf(scenario, '', false);
  if (flags.resume !== undefined) mustBeWritable(flags.resume, '--resume');
  const saved = flags.resume === undefined ? {} : readStand(flags.resume, scenario, spec);
  const progress = new ExploreProgress(t, flags.quiet === true, scenario.designs.length);
  const report = await interruptible(t, (stop) => {
    if (flags.quiet !== true) t.err(exploreHeading(scenario, spec));
    const options: ExploreOptions = {
      ...spec,
      catalog,
      stop,
      saved,
      executions: flags.executions,
      timeMs: seconds === undefined ? undefined : seconds * 1000,
      workers: flags.workers ?? availableParallelism(),
      classes: flags.classes === true,
      stepChecks: flags.stepChecks,
      ...(prefix === undefined ? {} : { prefix }),
      onDesign: (d) => progress.design(d),
      onProgress: (d, counts) => progress.counts(d, counts),
      onShrinking: (d, rule) => progress.shrinking(d, rule),
      onReport: (r) => progress.report(r),
    };
    return explore(scenario, options);
  });
  progress.end();
  if (flags.resume !== undefined) writeStand(flags.resume, scenario, spec, report);
  t.out(flags.json === true ? exploreJson(report, spec) : exploreReport(scenario, file, spec, report, t));
  return allExplored(scenario, report) ? EXIT_OK : EXIT_UNEXPECTED;
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
