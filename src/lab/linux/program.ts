/**
 * The recorded program's address space, as operations of a script.
 *
 * A static program at 4 MiB (headers, text, constants, relocated data, data), its heap, the data area, the grants, vvar
 * and vdso, the stack: four L1s, and one more with grants. Which pages are there before the recording begins is read off
 * the zaps of an exit: 1, 142, 33, 4, 3 of the program, 4 and 3 of the heap, 1 of the vdso, 2 of the stack.
 * Source: ../linux-teardown (unmap_vma, zap_rmap, set_pte steps); FORMAT.md (process).
 */
import { OP, OP_WORDS, type OpCode } from '../../abi/script.js';
import type { Recording } from './recording.js';

export const VM_READ = 1;
const VM_MIXEDMAP = 16;
const VM_SHARED = 32;
export const VM_RW = 3;

const OBJECT_PROGRAM = 0;
const OBJECT_VDSO = 1;
const OBJECT_DATA = 2;

const SLOT = 512 ** 3;
const L1_PAGES = 512;
/** First pages. */
export const PROG = 2 * L1_PAGES;
export const DATA = 64 * SLOT;
export const GRANTS = 96 * SLOT;
const MMAP = 255 * SLOT + 511 * L1_PAGES * 512 + 447 * L1_PAGES;
const STACK = 255 * SLOT + 511 * L1_PAGES * 512 + 511 * L1_PAGES;

/** Parts of the program and its heap: first page from PROG, pages, whether it is written to. */
const PARTS = {
  headers: { first: 0, pages: 1 },
  text: { first: 1, pages: 142 },
  constants: { first: 143, pages: 44 },
  relocated: { first: 187, pages: 4 },
  data: { first: 191, pages: 3 },
  bss: { first: 194, pages: 279 },
  heap: { first: 473, pages: 34 },
} as const;
const PROGRAM_PAGES = 194;
/** In the area of mmap: what a thread faults in; the second thread's guard page and stack; vvar, vdso. */
const FAULTED = MMAP - (447 - 315) * L1_PAGES;
const FAULTED_PAGES = 32 * L1_PAGES;
const FAULTED_BEFORE = 28;
const THREAD_STACK_PAGES = 2048;
const THREAD_STACK = MMAP + 200 - THREAD_STACK_PAGES;
const THREAD_GUARD = THREAD_STACK - 1;
const VVAR = MMAP + 256;
const VVAR_PAGES = 4;
const VDSO = VVAR + VVAR_PAGES;

/** Builds a script, operation by operation. */
export class Script {
  readonly words: number[] = [];
  readonly names: string[] = [];

  op(actor: number, code: OpCode, page = 0, count = 0, a = 0, b = 0, c = 0): void {
    const words = [code, actor, page | 0, Math.floor(page / 2 ** 32), count, a, b, c];
    for (let i = 0; i < OP_WORDS; i++) this.words.push(words[i] ?? 0);
  }

  mark(actor: number, name: string): void {
    this.op(actor, OP.mark, 0, 0, this.names.length);
    this.names.push(name);
  }
}

/** Whether the program stores to the page; where it does not, it reads. */
export const isWritten = (page: number): boolean => !(page >= PROG && page < PROG + PARTS.data.first);

/** Name of the area that begins at `page`, as the recordings call it. */
export function areaName(page: number): string {
  if (page >= PROG && page < PROG + PARTS.bss.first) return 'prog';
  if (page >= PROG && page < PROG + L1_PAGES) return 'heap';
  if (page >= DATA && page < DATA + SLOT) return 'data';
  if (page >= GRANTS && page < GRANTS + 4 * SLOT) return 'gnt';
  if (page >= VVAR && page < VDSO) return 'vvar';
  if (page === VDSO) return 'vdso';
  if (page >= STACK) return 'stack';
  return 'other';
}

/** Everything up to the recording's first mark. */
export function layProgram(s: Script, r: Recording, threads: boolean, mapsLater: boolean): void {
  const map = (page: number, pages: number, flags: number): void => s.op(0, OP.mmap, page, pages, flags);
  const read = (page: number, pages: number): void => s.op(0, OP.touch, page, pages, 0);
  const write = (page: number, pages: number, stride = 1): void => s.op(0, OP.touch, page, pages, 1, stride);
  s.op(0, OP.object, 0, PROGRAM_PAGES, OBJECT_PROGRAM);
  s.op(0, OP.object, 0, 1, OBJECT_VDSO);
  layFileParts(s);
  read(PROG, 1);
  read(PROG + PARTS.text.first, PARTS.text.pages);
  for (const page of [143, 159, 160]) read(PROG + page, 1);
  map(PROG + PARTS.bss.first, PARTS.bss.pages, VM_RW);
  write(PROG + 466, 2);
  write(PROG + 471, 2);
  map(PROG + PARTS.heap.first, PARTS.heap.pages, VM_RW);
  write(PROG + PARTS.heap.first, 3);
  layData(s, r);
  if (r.grants > 0) {
    s.op(0, OP.openGrants, 0, r.grants);
    if (!mapsLater) {
      s.op(0, OP.mapGrants, GRANTS);
      write(GRANTS, r.grants);
    }
  }
  map(VVAR, VVAR_PAGES, VM_READ | VM_MIXEDMAP);
  s.op(0, OP.mmapFile, VDSO, 1, VM_READ, OBJECT_VDSO);
  read(VDSO, 1);
  write(STACK + 509, 1);
  if (!threads) return;
  map(THREAD_GUARD, 1, 0);
  map(THREAD_STACK, THREAD_STACK_PAGES, VM_RW);
  s.op(0, OP.thread, 0, 0, 1);
  s.op(1, OP.touch, THREAD_STACK + THREAD_STACK_PAGES - 1, 1, 1);
  if (!r.case.startsWith('thr-fault')) return;
  map(FAULTED, FAULTED_PAGES, VM_RW);
  s.op(1, OP.touch, FAULTED, FAULTED_BEFORE, 1, L1_PAGES);
}

function layFileParts(s: Script): void {
  const part = ({ first, pages }: { first: number; pages: number }, flags: number): void =>
    s.op(0, OP.mmapFile, PROG + first, pages, flags, OBJECT_PROGRAM, first);
  part(PARTS.headers, VM_READ);
  part(PARTS.text, VM_READ);
  part(PARTS.constants, VM_READ);
  for (const p of [PARTS.relocated, PARTS.data]) {
    part(p, VM_RW);
    s.op(0, OP.touch, PROG + p.first, p.pages, 1);
  }
  s.op(0, OP.mprotect, PROG + PARTS.relocated.first, PARTS.relocated.pages, VM_READ);
}

/** Pages of the data area from one touched to the next, and in all. */
export const dataStride = (r: Recording): number => (r.case.startsWith('sparse-') ? L1_PAGES : 1);
export const dataPages = (r: Recording): number => (r.pages === 0 ? 0 : (r.pages - 1) * dataStride(r) + 1);

function layData(s: Script, r: Recording): void {
  if (r.pages === 0) return;
  if (r.case.startsWith('file-')) {
    s.op(0, OP.object, 0, r.pages, OBJECT_DATA);
    s.op(0, OP.mmapFile, DATA, r.pages, VM_RW | VM_SHARED, OBJECT_DATA);
  } else s.op(0, OP.mmap, DATA, dataPages(r), VM_RW);
  s.op(0, OP.touch, DATA, r.pages, 1, dataStride(r));
}
