/**
 * The programs a task can run, by index, and how a scenario's parameters become a task's arguments.
 *
 * Invariant: indices and the order of arguments are what tasks carry; a program or argument is added at the end.
 * ../catalog.json says the same to those who write scenarios; a test compares the two.
 */
import type { Program } from '../kernel/context.js';
import { balloon } from './balloon.js';
import { forkExit } from './fork-exit.js';
import { frontend } from './frontend.js';
import { io } from './io.js';
import { reclaimer } from './reclaimer.js';
import { spawner } from './spawner.js';
import { touch } from './touch.js';

export const PROGRAMS: readonly Program[] = Object.freeze([spawner, touch, forkExit, io, frontend, reclaimer, balloon]);

/** What an argument is made of: a whole number, a flag, the index of a choice, a set of domains (a bit each). */
export interface Argument {
  readonly key: string;
  readonly choices?: readonly string[];
}

export const ARGUMENTS: Readonly<Record<string, readonly Argument[]>> = Object.freeze({
  touch: [{ key: 'pages' }, { key: 'loops' }, { key: 'share' }, { key: 'free' }],
  'fork-exit': [{ key: 'pages' }, { key: 'children' }, { key: 'exec' }],
  io: [
    { key: 'peers' },
    { key: 'end', choices: ['unmap', 'exit', 'kill', 'any'] },
    { key: 'busy' },
    { key: 'patience' },
    { key: 'limit' },
  ],
  frontend: [{ key: 'peers' }, { key: 'pages' }, { key: 'patience' }, { key: 'trust' }],
  reclaim: [{ key: 'pages' }],
  balloon: [{ key: 'pages' }],
});

export const programIndex = (name: string): number => PROGRAMS.findIndex((p) => p.name === name);

export type ParameterValue = number | string | boolean | readonly string[];

/** The arguments of program `name`, in order; `domids` says what number a domain's name has. */
export function encodeArguments(
  name: string,
  values: Readonly<Record<string, ParameterValue>>,
  domids: Readonly<Record<string, number>>,
): number[] {
  return (ARGUMENTS[name] ?? []).map(({ key, choices }) => {
    const v = values[key];
    if (typeof v === 'number') return v;
    if (typeof v === 'boolean') return v ? 1 : 0;
    if (typeof v === 'string') return Math.max(0, choices?.indexOf(v) ?? 0);
    return (v ?? []).reduce((set, d) => set | (1 << (domids[d] ?? 31)), 0);
  });
}
