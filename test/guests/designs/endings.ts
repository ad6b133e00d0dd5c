/** The ways a mapping of grants ends, each run to the point where nothing is left to run. */
import { peek } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { forkTask } from '../../../guests/kernel/clone.js';
import { closeFiles } from '../../../guests/kernel/file.js';
import { madviseDontneed, munmap } from '../../../guests/kernel/mmap.js';
import { mremap } from '../../../guests/kernel/mprotect.js';
import { killTask, task } from '../../../guests/kernel/task.js';
import { GNT, type Process } from '../process.js';
import { addVaBytes } from '../support.js';
import { audit, broken, runToEnd, type Lab } from './lab.js';

/** Ends the process that maps `n` grants at GNT; answers what the audits on the way found. */
export type Ending = (lab: Lab, p: Process, n: number) => Steps<string[]>;

function* done(lab: Lab): Steps<string[]> {
  yield* runToEnd(lab);
  return broken(audit(lab));
}

export const ENDINGS: Readonly<Record<string, Ending>> = {
  *exit(lab) {
    return yield* done(lab);
  },
  *kill(lab, p) {
    yield* killTask(lab.c, p.t, 9);
    return yield* done(lab);
  },
  *close(lab, p) {
    yield* closeFiles(lab.c, p.t);
    return yield* done(lab);
  },
  *fork(lab, p) {
    if ((yield* forkTask(lab.c, p.t, 0)) < 0) throw new Error('fork refused');
    if (peek(task.children(p.t)) !== 1) throw new Error('no child');
    return yield* done(lab);
  },
  *munmap(lab, p, n) {
    if ((yield* munmap(lab.c, p.m, GNT, n)) !== 0) throw new Error('munmap refused');
    const then = broken(audit(lab));
    return [...new Set([...then, ...(yield* done(lab))])].sort();
  },
  /** The second of at least three goes first: the VMA is split in three. */
  *part(lab, p) {
    if ((yield* munmap(lab.c, p.m, addVaBytes(GNT, 4096), 1)) !== 0) throw new Error('munmap refused');
    const then = broken(audit(lab));
    return [...new Set([...then, ...(yield* done(lab))])].sort();
  },
  *dontneed(lab, p, n) {
    if ((yield* madviseDontneed(lab.c, p.m, GNT, n)) !== 0) throw new Error('madvise refused');
    const then = broken(audit(lab));
    return [...new Set([...then, ...(yield* done(lab))])].sort();
  },
  *mremap(lab, p, n) {
    if ((yield* mremap(lab.c, p.m, GNT, n, n, addVaBytes(GNT, 1 << 30))) !== 0) throw new Error('mremap refused');
    return yield* done(lab);
  },
};
