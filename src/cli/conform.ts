/** `xenolith conform`: replays recordings of the real hypervisor and says where this one answers otherwise. */
import { Option, type Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { BUILDS, conformInThread, type Build } from '../lab/tape/conform-thread.js';
import { differenceText, summaryText } from '../lab/tape/report.js';
import { EXIT_INPUT, EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { whole } from './whole.js';
import type { Terminal } from './terminal.js';

interface ConformFlags {
  readonly tape?: string;
  readonly build: Build;
  readonly stopFirst?: true;
  readonly quantum?: number;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLES = `
Examples:
  $ xenolith conform test/data/tapes/*.jsonl.gz
  $ xenolith conform pagetable.jsonl --tape main-pagetable-12
  $ xenolith conform grant.jsonl --build controlled --stop-first

Exit codes: 0 all tapes equal, 1 some differ or interrupted, 2 a file cannot be read or a line is no tape, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addConform(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('conform')
    .description('replay recorded hypercall sequences (tapes) and compare every answer with the recorded one')
    .argument('<files...>', 'tapes (.jsonl or .jsonl.gz)')
    .option('--tape <id>', 'only the tape of this id, or all that begin with it when it ends in *')
    .addOption(new Option('--build <build>', 'which build of the laboratory').choices(BUILDS).default('parallel'))
    .option('--quantum <n>', 'preempt and continue hypercalls at every nth check', whole(1, 1_000_000))
    .option('--stop-first', 'end at the first tape that differs')
    .option('--json', 'the report as JSON on stdout')
    .option('-q, --quiet', 'no progress on stderr')
    .addHelpText('after', EXAMPLES)
    .action(async (files: string[], flags: ConformFlags) => {
      done(await conformFiles(files, flags, t));
    });
}

async function conformFiles(files: readonly string[], flags: ConformFlags, t: Terminal): Promise<number> {
  const json = flags.json === true;
  try {
    const report = await interruptible(t, (stop) =>
      conformInThread({
        files,
        build: flags.build,
        tape: flags.tape,
        stopFirst: flags.stopFirst,
        quantum: flags.quantum,
        stop,
        onProgress: (tapes, different) => {
          if (flags.quiet !== true) t.status(`${String(tapes)} tapes, ${String(different)} different`);
        },
        onDifferent: (d) => {
          if (!json) t.out(`${differenceText(d)}\n\n`);
        },
      }),
    );
    t.status('');
    if (report.tapes === 0 && report.complete)
      throw new LabError('NO_TAPES', 'no tape was chosen', { hint: 'look at --tape and the files' });
    t.out(json ? `${JSON.stringify(report, null, 2)}\n` : `${summaryText(report)}\n`);
    return report.different === 0 && report.complete ? EXIT_OK : EXIT_UNEXPECTED;
  } catch (e) {
    if (!(e instanceof LabError)) throw e;
    t.status('');
    const p = e.position;
    const where = p === undefined ? 'error' : `${p.file}:${String(p.line)}:${String(p.column)}`;
    t.err(`${where}: ${e.message}${e.hint === undefined ? '' : `\n  hint: ${e.hint}`}`);
    return EXIT_INPUT;
  }
}
