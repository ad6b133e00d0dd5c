/** `xenolith schema`, `designs` and `validate`: what can be said without a machine. */
import type { Command } from 'commander';
import { loadCatalog } from '../lab/catalog.js';
import { readScenario, scenarioFiles } from '../lab/scenario-file.js';
import { scenarioJsonSchema } from '../scenario/schema.js';
import { EXIT_OK, explain } from './exit.js';
import { heading } from './print.js';
import { wrap } from './table.js';
import type { Terminal } from './terminal.js';

/** The JSON Schema as it is printed and shipped. */
export const schemaText = (): string => `${JSON.stringify(scenarioJsonSchema(loadCatalog()), null, 2)}\n`;

/** Adds the three commands; `done` receives the exit code. */
export function addDescriptions(program: Command, t: Terminal, done: (code: number) => void): void {
  program
    .command('schema')
    .description('print the JSON Schema of scenario files, for editors')
    .addHelpText('after', '\nExample:\n  $ xenolith schema > scenario.schema.json\n')
    .action(() => {
      t.out(schemaText());
      done(EXIT_OK);
    });
  program
    .command('designs')
    .description('list the teardown designs and the workload programs')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  $ xenolith designs\n')
    .action((flags: { json?: true }) => {
      const catalog = loadCatalog();
      t.out(flags.json === true ? `${JSON.stringify(catalog, null, 2)}\n` : listing(t.columns));
      done(EXIT_OK);
    });
  program
    .command('validate')
    .description('check scenario files without running them')
    .argument('<files...>', 'scenarios (YAML), or folders of them')
    .addHelpText('after', '\nExample:\n  $ xenolith validate guests/scenarios guests/scenarios/small\n')
    .action((files: string[]) => {
      done(Math.max(...scenarioFiles(files).map((f) => validate(f, t))));
    });
}

function listing(columns: number): string {
  const { designs, programs } = loadCatalog();
  const width = Math.min(columns, 120);
  const entry = (name: string, about: string): string[] => [name, ...wrap(about, width, '    ')];
  const lines = [
    'Designs',
    ...designs.flatMap((d) => entry(`  ${d.name}`, d.rule === undefined ? d.about : `${d.about} (breaks ${d.rule})`)),
    '',
    'Workload programs',
    ...programs.flatMap((p) => [
      ...entry(`  ${p.name}`, p.about),
      ...Object.entries(p.parameters).flatMap(([key, q]) => wrap(`${key}: ${q.about}`, width, '      ')),
    ]),
  ];
  return `${lines.join('\n')}\n`;
}

function validate(file: string, t: Terminal): number {
  try {
    t.out(`${file}: ${heading(readScenario(file, loadCatalog())).join('; ')}\n`);
    return EXIT_OK;
  } catch (e) {
    const { text, code } = explain(e);
    t.err(text);
    return code;
  }
}
