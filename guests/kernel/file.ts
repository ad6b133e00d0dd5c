/**
 * Open files: what a task's descriptors and VMAs refer to.
 *
 * Invariant: refs counts descriptors (of all tasks that inherited it) and VMAs; the last one releases the file.
 * Lock: refs is atomic; descriptors are the task's own.
 * Source: Linux fs/file_table.c (fput).
 */
import { record, type Ref } from '../../src/shm/record.js';
import { slabFree } from '../../src/shm/slab.js';
import { add, peek, poke, st } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { allocRecord } from './alloc.js';
import type { KernelCpu } from './context.js';
import { kernel, percpu } from './records.js';
import { task, TASK_FILES, type Task } from './task.js';

export const file = record('file', {
  refs: 1,
  /** Index in KernelCpu.fileOps. */
  ops: 1,
  /** The driver's object. */
  private: 1,
  /** Next of those whose release waits for the end of an exit_mmap. */
  next: 1,
});
export type File = Ref<'file'>;

export interface FileOps {
  readonly name: string;
  /** The last reference is gone. */
  release(c: KernelCpu, f: File): Steps<void>;
}

export const FILE_GNTDEV = 0;

/** A file with one reference; 0 when memory is short. */
export function* fileAlloc(c: KernelCpu, ops: number, priv: number): Steps<File> {
  const f = (yield* allocRecord(c, kernel.fileSlab(c.k))) as File;
  if (f === 0) return f;
  yield* st(file.refs(f), 1);
  yield* st(file.ops(f), ops);
  yield* st(file.private(f), priv);
  return f;
}

export function* fileGet(f: File): Steps<void> {
  yield* add(file.refs(f), 1);
}

export function* filePut(c: KernelCpu, f: File): Steps<void> {
  if ((yield* add(file.refs(f), -1)) !== 1) return;
  if (peek(percpu.holdsFiles(c.pc)) === 0) {
    yield* fileFree(c, f);
    return;
  }
  poke(file.next(f), peek(percpu.filesHeld(c.pc)));
  poke(percpu.filesHeld(c.pc), f);
}

/** From here on the last reference to a file only puts it aside (fput leaves the rest to task work). */
export function holdFiles(c: KernelCpu): void {
  poke(percpu.holdsFiles(c.pc), 1);
}

/** The task work: releases what was put aside. */
export function* releaseHeldFiles(c: KernelCpu): Steps<void> {
  poke(percpu.holdsFiles(c.pc), 0);
  for (;;) {
    const f = peek(percpu.filesHeld(c.pc)) as File;
    if (f === 0) return;
    poke(percpu.filesHeld(c.pc), peek(file.next(f)));
    yield* fileFree(c, f);
  }
}

function* fileFree(c: KernelCpu, f: File): Steps<void> {
  const ops = c.fileOps[peek(file.ops(f))];
  if (ops !== undefined) yield* ops.release(c, f);
  yield* slabFree(c.cpu, kernel.fileSlab(c.k), f);
}

/** Puts `f` in a free descriptor; -1 when all are taken. */
export function* installFile(t: Task, f: File): Steps<number> {
  for (let fd = 0; fd < TASK_FILES; fd++) {
    if (peek(task.files(t) + fd) !== 0) continue;
    yield* st(task.files(t) + fd, f);
    return fd;
  }
  return -1;
}

export const fileOf = (t: Task, fd: number): File => (fd < 0 ? 0 : peek(task.files(t) + fd)) as File;

/** close(fd). */
export function* closeFile(c: KernelCpu, t: Task, fd: number): Steps<void> {
  const f = fileOf(t, fd);
  if (f === 0) return;
  yield* st(task.files(t) + fd, 0);
  yield* filePut(c, f);
}

export function* closeFiles(c: KernelCpu, t: Task): Steps<void> {
  for (let fd = 0; fd < TASK_FILES; fd++) yield* closeFile(c, t, fd);
}

/** fork: the child has the same files. */
export function* copyFiles(from: Task, to: Task): Steps<void> {
  for (let fd = 0; fd < TASK_FILES; fd++) {
    const f = fileOf(from, fd);
    if (f === 0) continue;
    yield* fileGet(f);
    yield* st(task.files(to) + fd, f);
  }
}
