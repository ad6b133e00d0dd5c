/**
 * Scripts: what the programs of a recording did, system call by system call, as words that a guest program follows.
 *
 * Layout: a header (cursor, number of operations, vCPUs up), then operations of OP_WORDS words: code, actor, then arguments.
 * Addresses are page numbers, two words. The cursor is the operation whose turn it is: one order for all actors.
 * Source: ../linux-teardown (marks, pagefault steps).
 */
export const SCRIPT_CURSOR = 0;
export const SCRIPT_COUNT = 1;
/** vCPUs that have booted: the first operation waits for all. */
export const SCRIPT_UP = 2;
export const SCRIPT_HEADER = 3;
export const OP_WORDS = 8;

/** Word of an operation. */
export const OP_CODE = 0;
export const OP_ACTOR = 1;
export const OP_PAGE_LO = 2;
export const OP_PAGE_HI = 3;
export const OP_COUNT = 4;
export const OP_A = 5;
export const OP_B = 6;
export const OP_C = 7;

/** Who does an operation: the main thread; its second thread or forked child. */
export const ACTOR_MAIN = 0;
export const ACTOR_OTHER = 1;
/** Another process. */
export const ACTOR_ELSEWHERE = 2;
/** Nobody: whoever is left waits for a signal. */
export const ACTOR_NOBODY = 3;

export const OP = {
  /** The program's own mark; A: index of its name. */
  mark: 1,
  /** A: VM_* flags; anonymous memory. */
  mmap: 2,
  /** A: VM_* flags; B: object; C: its first page. */
  mmapFile: 3,
  /** A: 1 to write; B: pages from one to the next. */
  touch: 4,
  munmap: 5,
  /** A: VM_* flags. */
  mprotect: 6,
  madvise: 7,
  /** A: pages afterwards; B, C: page number to move to. */
  mremap: 8,
  /** Maps COUNT grants of the domain's own pages. */
  mapGrants: 9,
  /** Opens the grant driver and sets COUNT grants up in it. */
  openGrants: 10,
  /** close(fd) of the grant driver. */
  close: 11,
  /** Its unmap ioctl. */
  forget: 12,
  fork: 13,
  /** Starts the second thread, on vCPU A. */
  thread: 14,
  exec: 15,
  exit: 16,
  /** A signal A from outside ends the process. */
  kill: 17,
  /** An object of COUNT pages gets number A. */
  object: 18,
  /** The recording ends here, when nobody else is left; begins here. */
  end: 19,
  begin: 20,
  /** This thread alone exits. */
  exitThread: 21,
  /** Another process is made, for vCPU A; it runs from `startOther` on. */
  prepareOther: 22,
  startOther: 23,
  /** Nothing is done: who does it has run. */
  pass: 24,
} as const;
export type OpCode = (typeof OP)[keyof typeof OP];
