/** `xenolith replay`: one counterexample again, step by step, and what it breaks. */
import type { Command } from 'commander';
import { loadCatalog } from '../lab/catalog.js';
import { findToken, replayToken, scenarioOf, type Replayed } from '../lab/explore/token-file.js';
import type { Counterexample } from '../lab/explore/token.js';
import { EXIT_OK, EXIT_UNEXPECTED } from './exit.js';
import { listing } from './listing.js';
import { count, wrap } from './table.js';
import type { Terminal } from './terminal.js';
import { whole } from './whole.js';

interface ReplayFlags {
  readonly scenario?: string;
  readonly nth: number;
  readonly anyCode?: true;
  readonly json?: true;
}

const EXAMPLES = `
Examples:
  $ xenolith explore guests/scenarios/small/exit-revoke.yaml --design early-unpin
  $ xenolith replay x1.0f3a…                     the token that explore printed
  $ xenolith explore … --json > found.json; xenolith replay found.json

In the listing '>' is a step of the scenario, '~' the access that a side stands before when it is left, '!' a choice.
Exit codes: 0 it took the same steps and broke the same, 1 it did not, 2 bad input, 3 the laboratory broke.
`;

/** Adds the command; `done` receives the exit code. */
export function addReplay(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('replay')
    .description('replay a counterexample that explore found')
    .argument('<token>', 'token, or a file with tokens')
    .option('--scenario <file>', 'scenario that it was found in; a shipped one unless said')
    .option('--nth <n>', 'which token of the file', whole(1, 1_000_000), 1)
    .option('--any-code', 'also when the code has changed since')
    .option('--json', 'the execution as JSON on stdout')
    .addHelpText('after', EXAMPLES)
    .action(async (named: string, flags: ReplayFlags) => {
      done(await run(named, flags, t));
    });
}

async function run(named: string, flags: ReplayFlags, t: Terminal): Promise<number> {
  const token = findToken(named, flags.nth);
  const scenario = scenarioOf(token, flags.scenario, loadCatalog());
  const replayed = await replayToken(token, scenario, flags.anyCode === true);
  t.out(flags.json === true ? json(token, replayed) : human(token, replayed, t.columns));
  return replayed.same && replayed.recording.findings.length > 0 ? EXIT_OK : EXIT_UNEXPECTED;
}

function json(token: Counterexample, { scenario, recording, same }: Replayed): string {
  const { findings, trace, steps, preemptions, sides, runs, happenings } = recording;
  const out = {
    scenario: scenario.name,
    design: token.design,
    same,
    trace,
    steps,
    preemptions,
    sides,
    findings,
    runs,
    happenings,
  };
  return `${JSON.stringify(out, null, 2)}\n`;
}

function human(token: Counterexample, { scenario, recording, same }: Replayed, width: number): string {
  const { steps, preemptions, findings, trace } = recording;
  const head = `${scenario.name} under ${token.design}: ${count(steps)} steps, ${count(preemptions)} preemptions`;
  const found = findings.flatMap((f) => [
    ...wrap(`${f.rule} ${f.detail}`, width, ''),
    ...f.holders.map((h) => `    held by ${h}`),
    ...(f.since === undefined ? [] : wrap(f.since, width, '    ')),
  ]);
  const told = same
    ? `trace ${trace}, the same as when it was found`
    : `trace ${trace}, NOT the one it was found with (${token.trace})`;
  return `${[head, '', ...listing(recording, width), '', ...(found.length === 0 ? ['nothing is broken'] : found), told].join('\n')}\n`;
}
