/** `xenolith run`: one scenario under its designs, a verdict each. */
import { Option, type Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { loadCatalog } from '../lab/catalog.js';
import { override, type Override } from '../lab/override.js';
import { parseFault } from '../lab/inject/spec.js';
import { DEFAULT_BOUNDS } from '../lab/run/design-run.js';
import { allExpected, runScenario, type DesignReport } from '../lab/run/scenario-run.js';
import { readScenario } from '../lab/scenario-file.js';
import type { Extent } from '../scenario/scenario.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { LOG_LEVELS, openLog, type LogLevel } from './log.js';
import { heading, humanReport, jsonReport } from './print.js';
import { Progress } from './progress.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface RunFlags {
  readonly design?: readonly string[];
  readonly vcpus?: number;
  readonly duration?: number;
  readonly rounds?: number;
  readonly seed?: number;
  readonly fault?: readonly string[];
  readonly json?: true;
  readonly quiet?: true;
  readonly stallAfter?: number;
  readonly logLevel?: LogLevel;
  readonly logFile?: string;
}

const EXAMPLES = `
Examples:
  $ xenolith run guests/scenarios/teardown.yaml
  $ xenolith run guests/scenarios/teardown.yaml --design early-unpin --rounds 20
  $ xenolith run guests/scenarios/teardown.yaml --design notifier-split --rounds 10 --fault gnttab.unmap:interval=50
  $ xenolith run guests/scenarios/busy-page.yaml --design notifier --design notifier-async --json

Exit codes: 0 everything as expected, 1 not, or interrupted, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addRun(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('run')
    .description('run a scenario in parallel, one thread per vCPU, and print a verdict per design')
    .argument('<file>', 'scenario (YAML)')
    .option('-d, --design <name>', "a design, several times, or 'all'", collect)
    .option('--vcpus <n>', 'vCPUs of each domain', whole(1, 64))
    .addOption(
      new Option('--duration <s>', 'seconds per design, instead of rounds')
        .argParser(whole(1, 86_400))
        .conflicts('rounds'),
    )
    .addOption(new Option('--rounds <n>', 'rounds of work per thread').argParser(whole(1, 1_000_000_000)))
    .option('--seed <n>', 'seed of the workloads', whole(0, 0xffffffff))
    .option('--fault <site:key=value,…>', 'a fault to inject, several times (see inject --list)', collect)
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .option('--stall-after <s>', 'seconds a vCPU may stand still', whole(1, 3600))
    .addOption(new Option('--log-level <level>', 'log to stderr, or to --log-file').choices(LOG_LEVELS))
    .option('--log-file <file>', 'append the log to a file')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, flags: RunFlags) => {
      done(await run(file, flags, t));
    });
}

async function run(file: string, flags: RunFlags, t: Terminal): Promise<number> {
  const log = openLog(flags.logLevel, flags.logFile);
  const catalog = loadCatalog();
  const known = catalog.designs.map((d) => d.name);
  const scenario = override(readScenario(file, catalog), asOverride(flags), known);
  if (scenario.domains.every((d) => d.workloads.length === 0)) {
    throw new LabError('NOTHING_TO_RUN', `scenario '${scenario.name}' has no workloads`, {
      hint: scenario.small === undefined ? 'give a domain a workload' : 'search its schedules with xenolith explore',
    });
  }
  const progress = new Progress(t, flags.quiet === true);
  log.info({ file, scenario: scenario.name, seed: scenario.seed, designs: scenario.designs }, 'run');
  const report = await interruptible(t, (stop) => {
    if (flags.quiet !== true) for (const line of heading(scenario)) t.err(line);
    return runScenario(scenario, {
      catalog,
      stop,
      bounds: { ...DEFAULT_BOUNDS, ...(flags.stallAfter === undefined ? {} : { stallMs: flags.stallAfter * 1000 }) },
      onDesign: (design, i, of) => {
        log.info({ design }, 'design');
        progress.design(design, i, of);
      },
      onSample: (design, sample) => {
        log.debug({ design, ...sample }, 'sample');
        progress.sample(sample);
      },
      onReport: (d) => {
        progress.report(d);
        logReport(log, d);
      },
    });
  });
  progress.end();
  t.out(flags.json === true ? jsonReport(report) : humanReport(scenario, report, t));
  return allExpected(scenario, report) ? EXIT_OK : EXIT_UNEXPECTED;
}

function logReport(log: ReturnType<typeof openLog>, d: DesignReport): void {
  const line = { design: d.design, verdict: d.verdict, expected: d.expected, notes: d.notes, counters: d.counters };
  if (d.verdict === 'error' || d.verdict === 'stalled') log.error({ ...line, violations: d.violations }, 'report');
  else if (d.expected) log.info(line, 'report');
  else log.warn({ ...line, violations: d.violations }, 'report');
}

function asOverride(flags: RunFlags): Override {
  const extent: Extent | undefined =
    flags.duration !== undefined
      ? { kind: 'seconds', seconds: flags.duration }
      : flags.rounds !== undefined
        ? { kind: 'rounds', rounds: flags.rounds }
        : undefined;
  if (flags.design?.includes('all') === true && flags.design.length > 1) {
    throw new LabError('BAD_FLAG', '--design all stands alone', { hint: 'leave out the other designs' });
  }
  return {
    ...(flags.design === undefined ? {} : { designs: flags.design }),
    ...(flags.vcpus === undefined ? {} : { vcpus: flags.vcpus }),
    ...(flags.seed === undefined ? {} : { seed: flags.seed }),
    ...(flags.fault === undefined ? {} : { faults: flags.fault.map(parseFault) }),
    ...(extent === undefined ? {} : { extent }),
  };
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
