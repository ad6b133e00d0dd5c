/**
 * What the README shows of the tool, from the tool: `node build/readme.mjs` writes the counterexample of its first screen and
 * the matrices of faults anew. `test/build/readme.test.ts` asks whether they are what is printed today.
 *
 * A block is a fence that begins with its command; a long token in it is cut to its beginning.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const README = new URL('../README.md', import.meta.url);
const FOLDER = 'guests/scenarios/faults';
const SMALL = 'guests/scenarios/small/unmap-touch.yaml';
const EXPLORE = ['explore', SMALL, '-d', 'zap-pte', '--twin', 'unmap-no-flush', '-s', 'pct'];
/** Printed as it would be typed. */
const typed = (/** @type {readonly string[]} */ args) => `$ npx xenolith ${args.join(' ')}`;

export const SWEEP = ['inject', FOLDER, '--sweep', 'all'];
export const LASTING = [...SWEEP, '--persistent'];
export const COMMANDS = { counterexample: typed(EXPLORE), sweep: typed(SWEEP), lasting: typed(LASTING) };

/**
 * What a command prints on stdout. An exit code of 1 is an answer too.
 * @param {readonly string[]} args
 * @returns {Promise<string>}
 */
export function xenolith(args) {
  const cli = fileURLToPath(new URL('../dist/parallel/src/cli/main.js', import.meta.url));
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [cli, ...args], { cwd: ROOT, maxBuffer: 1 << 28 }, (e, out, err) => {
      if (e !== null && e.code !== 1) reject(new Error(`${args.join(' ')}: ${err}`));
      else resolve(out);
    });
  });
}

/**
 * The lines between the fences of the block that begins with `command`.
 * @param {string} text
 * @param {string} command
 */
export function blockOf(text, command) {
  const from = text.indexOf(`\`\`\`\n${command}\n`);
  if (from < 0) throw new Error(`the README has no block that begins with ${command}`);
  const start = from + 4;
  return {
    start,
    end: text.indexOf('\n```', start),
    lines: text.slice(start, text.indexOf('\n```', start)).split('\n'),
  };
}

/** What is found with the flush left out, and its replay. */
export async function counterexample() {
  const found = await xenolith(EXPLORE);
  const token = /x1\.[\w.-]+/.exec(found)?.[0];
  if (token === undefined) throw new Error(`nothing was found: ${found}`);
  const lines = found.split('\n');
  const at = lines.findIndex((l) => l.includes(token));
  const replay = ['replay', token, '--scenario', SMALL];
  const short = (/** @type {string} */ l) => l.replaceAll(token, `${token.split('.').slice(0, 2).join('.')}.…`);
  const told = await xenolith(replay);
  return [typed(EXPLORE), '…', ...lines.slice(at - 2, at + 1), typed(replay), ...told.trimEnd().split('\n')].map(short);
}

/**
 * The matrix of a sweep: everything up to the legend, and the last line.
 * @param {readonly string[]} args
 */
export async function matrix(args) {
  const lines = (await xenolith(args)).trimEnd().split('\n');
  const legend = lines.findIndex((l) => l.startsWith('c clean'));
  const end = lines.indexOf('', legend);
  return [typed(args), ...lines.slice(0, end), '…', lines.at(-1) ?? ''];
}

/**
 * The rows of a printed matrix: design, then site (or `none`), then letter.
 * @param {readonly string[]} lines
 * @returns {Map<string, Map<string, string>>}
 */
export function rowsOf(lines) {
  const table = lines.slice(lines.findIndex((l) => l.startsWith('design ')) + 1);
  const rows = table.slice(0, table.indexOf(''));
  const names = new Map([...lines.join(' ').matchAll(/\b(\d+) ([a-z][\w.]*)/g)].map((m) => [Number(m[1]), m[2] ?? '']));
  return new Map(
    rows.map((row) => {
      const [design = '', ...cells] = row.split(/\s+/);
      return [design, new Map(cells.map((c, i) => [i === 0 ? 'none' : (names.get(i) ?? ''), c.charAt(0)]))];
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  let text = readFileSync(README, 'utf8');
  for (const [command, lines] of [
    [COMMANDS.counterexample, await counterexample()],
    [COMMANDS.sweep, await matrix(SWEEP)],
    [COMMANDS.lasting, await matrix(LASTING)],
  ]) {
    const { start, end } = blockOf(text, String(command));
    text = text.slice(0, start) + [lines].flat().join('\n') + text.slice(end);
  }
  writeFileSync(README, text);
}
