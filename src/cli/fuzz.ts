/** `xenolith fuzz`: hostile guests make calls that are mostly valid, half right or noise; nothing of the hypervisor's may break. */
import { Option, type Command } from 'commander';
import { fuzz, FUZZ_BUILDS, type FuzzBuild } from '../lab/fuzz/campaign.js';
import { FUZZ_MAX_VCPUS } from '../lab/fuzz/plan.js';
import { fuzzText, type FuzzReport } from '../lab/fuzz/report.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface FuzzFlags {
  readonly calls: number;
  readonly seed: number;
  readonly build: FuzzBuild | 'both';
  readonly vcpus?: number;
  readonly noise?: number;
  readonly churn?: true;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLES = `
Examples:
  $ xenolith fuzz
  $ xenolith fuzz --build controlled --calls 100000 --seed 7
  $ xenolith fuzz --build parallel --vcpus 4 --noise 255 --json

Each episode is a fresh machine with up to three domains of hostile guests; its seed decides everything in the controlled
build, and all but the schedule in the parallel one. After each the hypervisor's invariants are audited, every domain is
destroyed, and every frame must be back.

Exit codes: 0 nothing broken, 1 something was, or interrupted, 2 a flag is wrong, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addFuzz(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('fuzz')
    .description('hostile guests: random calls, structures and accesses, audited after every episode')
    .option('--calls <n>', 'hypercalls in each build', whole(1, 1_000_000_000), 1_000_000)
    .option('--seed <n>', 'seed of the first episode; each later one takes the next', whole(0, 0x7fffffff), 1)
    .addOption(new Option('--build <build>', 'which build').choices([...FUZZ_BUILDS, 'both']).default('both'))
    .option('--vcpus <n>', 'vCPUs of every episode; otherwise the seed decides', whole(1, FUZZ_MAX_VCPUS))
    .option('--noise <n>', 'of 256 values, how many are noise; otherwise the seed decides', whole(0, 255))
    .option('--churn', 'only calls that take and drop references; otherwise the seed decides')
    .option('--json', 'the reports as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: FuzzFlags) => {
      done(await fuzzBuilds(flags, t));
    });
}

async function fuzzBuilds(flags: FuzzFlags, t: Terminal): Promise<number> {
  const builds = flags.build === 'both' ? FUZZ_BUILDS : [flags.build];
  const reports = await interruptible(t, async (stop) => {
    const all: FuzzReport[] = [];
    for (const build of builds) {
      if (stop.aborted) break;
      const report = await fuzz({
        build,
        calls: flags.calls,
        seed: flags.seed,
        vcpus: flags.vcpus,
        wild: flags.noise,
        churns: flags.churn,
        stop,
        onProgress: (r) => {
          if (flags.quiet !== true) t.status(`${build}: ${count(r.calls)} hypercalls, seed ${String(r.nextSeed - 1)}`);
        },
      });
      t.status('');
      if (flags.json !== true) t.out(`${fuzzText(report)}\n`);
      all.push(report);
    }
    return all;
  });
  if (flags.json === true) t.out(`${JSON.stringify(reports, null, 2)}\n`);
  else if (reports.length === 0) t.out('interrupted before the first episode\n');
  return reports.length === builds.length && reports.every((r) => r.complete) ? EXIT_OK : EXIT_UNEXPECTED;
}
