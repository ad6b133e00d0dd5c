/** The programs a task can run, by index; a program is added at the end. */
import type { Program } from '../kernel/context.js';

export const PROGRAMS: readonly Program[] = Object.freeze([]);
