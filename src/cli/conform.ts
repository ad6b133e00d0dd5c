/** `xenolith conform`: replays recordings of the real hypervisor and says where this one answers otherwise. */
import { Option, type Command } from 'commander';
import { LabError } from '../abi/errors.js';
import { BUILDS, conform, type Build, type ConformProgress } from '../lab/tape/conform.js';
import { DEFAULT_DESIGN, RECORDED_DESIGNS } from '../lab/linux/designs.js';
import { differenceText, jsonText, summaryText } from '../lab/tape/report.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { interruptible } from './interrupt.js';
import { count } from './table.js';
import { whole } from './whole.js';
import type { Terminal } from './terminal.js';

interface ConformFlags {
  readonly tape?: string;
  readonly build?: Build;
  readonly stopFirst?: true;
  readonly quantum?: number;
  readonly design?: string;
  readonly threads?: number;
  readonly json?: true;
  readonly quiet?: true;
}

const EXAMPLES = `
Without files, the recordings that come with the project are replayed. A folder stands for the recordings in it.
Every tape is replayed in both builds, and is equal only if it is in both. Recordings of Linux's teardown are told from
tapes by their fields: the same address space ends the same way in our kernel, and what both did is compared.

Examples:
  $ xenolith conform
  $ xenolith conform recordings/ more.jsonl.gz --json
  $ xenolith conform pagetable.jsonl --tape main-pagetable-12
  $ xenolith conform grant.jsonl --build controlled --stop-first
  $ xenolith conform test/data/linux --design notifier

Exit codes: 0 all tapes equal, 1 some differ or interrupted, 2 a file cannot be read or a line is no tape, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addConform(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('conform')
    .description('replay recorded hypercall sequences (tapes) and compare every answer with the recorded one')
    .argument('[files...]', 'tapes (.jsonl or .jsonl.gz), or folders of them')
    .option('--tape <id>', 'only the tape of this id, or all that begin with it when it ends in *')
    .addOption(new Option('--build <build>', 'one build of the laboratory only').choices(BUILDS))
    .option('--quantum <n>', 'preempt and continue hypercalls at every nth check (tapes only)', whole(1, 1_000_000))
    .addOption(
      new Option('--design <name>', "the design of our kernel, for recordings of Linux's teardown")
        .choices(RECORDED_DESIGNS)
        .default(DEFAULT_DESIGN),
    )
    .option('--threads <n>', 'threads of each build (default: one a core)', whole(1, 256))
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
  const progress = flags.quiet === true ? undefined : progressOn(t);
  try {
    const report = await interruptible(t, (stop) =>
      conform({
        files,
        builds: flags.build === undefined ? undefined : [flags.build],
        tape: flags.tape,
        stopFirst: flags.stopFirst,
        quantum: flags.quantum,
        design: flags.design,
        threads: flags.threads,
        keep: json,
        stop: t.gone === undefined ? stop : AbortSignal.any([stop, t.gone]),
        onProgress: progress,
        onDifferent: (d) => {
          if (!json) t.out(`${differenceText(d)}\n\n`);
        },
      }),
    );
    if (report.tapes === 0 && report.complete)
      throw new LabError('NO_TAPES', 'no tape was chosen', { hint: 'look at --tape and the files' });
    t.out(json ? jsonText(report) : `${summaryText(report)}\n`);
    return report.different === 0 && report.complete ? EXIT_OK : EXIT_UNEXPECTED;
  } finally {
    t.status('');
  }
}

function progressOn(t: Terminal): (p: ConformProgress) => void {
  return (p) => {
    const part = p.part === 0 ? '' : `${String(Math.floor(100 * p.part))} %, `;
    t.status(`${part}${count(p.tapes)} tapes, ${count(p.different)} different`);
  };
}
