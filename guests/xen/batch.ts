/**
 * Multicall batches: a per-vCPU buffer of at most 32 entries and 512 argument bytes, issued at once.
 *
 * Invariant: entries, arguments and callbacks belong to this vCPU; interrupts are masked between `batchBegin` and
 * `batchIssue`, so a handler finds a whole buffer. In a lazy mode the buffer really waits: nothing in it has happened.
 * A callback runs after the batch that holds its entry, whatever the entry answered.
 * Lock: none; callbacks release PTE locks that were taken while the batch was built.
 * Source: Linux arch/x86/xen/multicalls.c; ../linux-teardown items 2, 3, 20 (one entry goes as the call itself; 31
 * requests of 16 bytes fill the arguments).
 */
import { DOMID_SELF, PAGE_SIZE, vaHi, vaLo, type Va } from '../../src/abi/frames.js';
import {
  HYPERVISOR_mmuext_op,
  HYPERVISOR_mmu_update,
  HYPERVISOR_multicall,
  HYPERVISOR_update_va_mapping,
} from '../../src/abi/hypercall.js';
import { MULTICALL_ARGS, MULTICALL_RESULT, MULTICALL_WORDS } from '../../src/abi/mmu.js';
import { peek, poke, stOnce } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { KernelCpu } from '../kernel/context.js';
import { COUNT, WARN } from '../kernel/counters.js';
import { count, warn } from '../kernel/count.js';
import { kunlock } from '../kernel/lock.js';
import { MC_ARG_BYTES, MC_BATCH, percpu } from '../kernel/records.js';
import { peekVa } from '../kernel/words.js';
import { MARK, MARK_APPENDED } from '../../src/abi/marks.js';
import { mark } from '../kernel/mark.js';

/** Callbacks: release the PTE lock at `arg`; the switch to the pgd `arg` (a pfn) has been carried out. */
export const CB_UNLOCK = 1;
export const CB_CR3_DONE = 2;

const ENTRY_BYTES = MULTICALL_WORDS * 4;
const ARGS_OFFSET = MC_BATCH * ENTRY_BYTES;
/** Where single structures may be put in the batch page, behind the arguments. */
const SCRATCH_OFFSET = ARGS_OFFSET + MC_ARG_BYTES;

const batchVa = (c: KernelCpu): Va => peekVa(percpu.batchVa(c.pc));
const entryAt = (c: KernelCpu, i: number): Va => (batchVa(c) + i * ENTRY_BYTES) as Va;
const argsAt = (c: KernelCpu, offset: number): Va => (batchVa(c) + ARGS_OFFSET + offset) as Va;
/** Own place for one argument structure of up to 1 KiB. */
export const structVa = (c: KernelCpu): Va => (batchVa(c) + SCRATCH_OFFSET) as Va;

/** Where the vCPU bitmap of a MULTI flush lies; it is read when the batch runs, so one at a time. */
export const maskVa = (c: KernelCpu): Va => (batchVa(c) + PAGE_SIZE - 8) as Va;

const image = (c: KernelCpu): number => percpu.mcImage(c.pc);
const entries = (c: KernelCpu): number => peek(percpu.mcEntries(c.pc));

/** Masks interrupts; nests. */
export function batchBegin(c: KernelCpu): void {
  const depth = percpu.masked(c.pc);
  if (peek(depth) === 0) {
    poke(percpu.wasMasked(c.pc), c.g.eventsMasked() ? 1 : 0);
    c.g.maskEvents();
    poke(percpu.mcRefused(c.pc), 0);
  }
  poke(depth, peek(depth) + 1);
}

/** Issues the batch unless the vCPU is in lazy mode `mode`; undoes `batchBegin`; answers the entries refused since. */
export function* batchIssue(c: KernelCpu, mode: number): Steps<number> {
  if (mode === 0 || peek(percpu.lazyMode(c.pc)) !== mode) yield* batchFlush(c);
  const refused = peek(percpu.mcRefused(c.pc));
  const depth = percpu.masked(c.pc);
  poke(depth, peek(depth) - 1);
  if (peek(depth) === 0 && peek(percpu.wasMasked(c.pc)) === 0) yield* c.g.unmaskEvents();
  return refused;
}

/** Writes the newest entry to the batch page. */
function* settle(c: KernelCpu): Steps<void> {
  const n = entries(c);
  if (n > 0) yield* c.g.storeWords(entryAt(c, n - 1), image(c), MULTICALL_WORDS);
}

/** A new entry for call `op` with room for `bytes` of arguments; answers the arguments' offset. */
function* newEntry(c: KernelCpu, op: number, bytes: number): Steps<number> {
  if (entries(c) === MC_BATCH || peek(percpu.mcBytes(c.pc)) + bytes >= MC_ARG_BYTES) yield* batchFlush(c);
  else yield* settle(c);
  const at = image(c);
  for (let i = 0; i < MULTICALL_WORDS; i++) poke(at + i, 0);
  poke(at, op);
  poke(percpu.mcEntries(c.pc), entries(c) + 1);
  const offset = peek(percpu.mcBytes(c.pc));
  poke(percpu.mcBytes(c.pc), offset + bytes);
  return offset;
}

const setArg = (c: KernelCpu, i: number, lo: number, hi: number): void => {
  poke(image(c) + MULTICALL_ARGS + 2 * i, lo);
  poke(image(c) + MULTICALL_ARGS + 2 * i + 1, hi);
};

/** Trace point: the request in percpu.scratch is queued. */
function markRequest(c: KernelCpu, op: number, appends: boolean): void {
  const s = percpu.scratch(c.pc);
  const flag = appends ? MARK_APPENDED : 0;
  if (op === HYPERVISOR_mmuext_op) mark(c, MARK.queue_mmuext, peek(s) | flag, peek(s + 2));
  else mark(c, MARK.queue_update, ((peek(s) & 0xfff) >>> 3) | flag, (peek(s) >>> 12) | (peek(s + 1) << 20));
}

/** Appends one structure (in percpu.scratch) to the newest entry if it is `op`, else as a new entry of it. */
function* appendRequest(c: KernelCpu, op: number, words: number): Steps<void> {
  const bytes = words * 4;
  const used = peek(percpu.mcBytes(c.pc));
  const appends = entries(c) > 0 && peek(image(c)) === op && used + bytes < MC_ARG_BYTES;
  if (appends) {
    markRequest(c, op, appends);
    const counter = image(c) + MULTICALL_ARGS + 2;
    poke(counter, peek(counter) + 1);
    poke(percpu.mcBytes(c.pc), used + bytes);
    yield* c.g.storeWords(argsAt(c, used), percpu.scratch(c.pc), words);
    return;
  }
  const offset = yield* newEntry(c, op, bytes);
  markRequest(c, op, appends);
  setArg(c, 0, vaLo(argsAt(c, offset)), vaHi(argsAt(c, offset)));
  setArg(c, 1, 1, 0);
  setArg(c, 3, DOMID_SELF, 0);
  yield* c.g.storeWords(argsAt(c, offset), percpu.scratch(c.pc), words);
}

/** Queues one mmu_update request: the two 64-bit words `ptr` and `val`. */
export function* queueMmuUpdate(c: KernelCpu, ptrLo: number, ptrHi: number, lo: number, hi: number): Steps<void> {
  const s = percpu.scratch(c.pc);
  poke(s, ptrLo);
  poke(s + 1, ptrHi);
  poke(s + 2, lo);
  poke(s + 3, hi);
  yield* appendRequest(c, HYPERVISOR_mmu_update, 4);
}

/** Queues one mmuext_op; `arg1` and `arg2` are low words. */
export function* queueMmuext(c: KernelCpu, cmd: number, arg1: number, arg1Hi = 0, arg2 = 0, arg2Hi = 0): Steps<void> {
  const s = percpu.scratch(c.pc);
  poke(s, cmd);
  poke(s + 1, 0);
  poke(s + 2, arg1);
  poke(s + 3, arg1Hi);
  poke(s + 4, arg2);
  poke(s + 5, arg2Hi);
  yield* appendRequest(c, HYPERVISOR_mmuext_op, 6);
}

/** Queues update_va_mapping of `va` to the entry (lo, hi), with UVMF_* `flags`. */
export function* queueVaMapping(c: KernelCpu, va: Va, lo: number, hi: number, flags: number): Steps<void> {
  yield* newEntry(c, HYPERVISOR_update_va_mapping, 0);
  setArg(c, 0, vaLo(va), vaHi(va));
  setArg(c, 1, lo, hi);
  setArg(c, 2, flags, 0);
}

/** Runs after the batch under construction. */
export function* queueCallback(c: KernelCpu, kind: number, arg: number): Steps<void> {
  const n = percpu.mcCallbacks(c.pc);
  if (peek(n) === MC_BATCH) yield* batchFlush(c);
  const at = percpu.callbacks(c.pc) + 2 * peek(n);
  poke(at, kind);
  poke(at + 1, arg);
  poke(n, peek(n) + 1);
}

/** Issues what is queued; answers how many entries were refused. */
export function* batchFlush(c: KernelCpu): Steps<number> {
  const n = entries(c);
  const masked = c.g.eventsMasked();
  c.g.maskEvents();
  let refused = 0;
  if (n > 0) {
    yield* count(c, COUNT.batches);
    yield* count(c, COUNT.batchEntries, n);
    mark(c, MARK.flush, n, peek(percpu.mcCallbacks(c.pc)));
    refused = n === 1 ? yield* issueSingle(c) : yield* issueMulticall(c, n);
    poke(percpu.mcRefused(c.pc), peek(percpu.mcRefused(c.pc)) + refused);
    poke(percpu.mcEntries(c.pc), 0);
    poke(percpu.mcBytes(c.pc), 0);
  }
  yield* runCallbacks(c);
  if (!masked) yield* c.g.unmaskEvents();
  return refused;
}

function* issueSingle(c: KernelCpu): Steps<number> {
  const at = image(c);
  for (let i = 0; i < 5; i++) c.g.arg(i, peek(at + MULTICALL_ARGS + 2 * i), peek(at + MULTICALL_ARGS + 2 * i + 1));
  const op = peek(at);
  const r = yield* c.g.hypercall(op);
  if (r >= 0) return 0;
  yield* warn(c, WARN.multicall, (op << 16) | (-r & 0xff));
  return 1;
}

function* issueMulticall(c: KernelCpu, n: number): Steps<number> {
  yield* settle(c);
  yield* count(c, COUNT.multicalls);
  c.g.argVa(0, batchVa(c));
  c.g.arg(1, n, 0);
  const r = yield* c.g.hypercall(HYPERVISOR_multicall);
  let refused = 0;
  for (let i = 0; i < n; i++) {
    const result = r < 0 ? r : yield* c.g.load((entryAt(c, i) + 4 * MULTICALL_RESULT) as Va);
    if (result >= 0) continue;
    refused++;
    const op = yield* c.g.load32(entryAt(c, i));
    yield* warn(c, WARN.multicall, (op << 16) | (i << 8) | (-result & 0xff));
  }
  return refused;
}

function* runCallbacks(c: KernelCpu): Steps<void> {
  const n = peek(percpu.mcCallbacks(c.pc));
  poke(percpu.mcCallbacks(c.pc), 0);
  for (let i = 0; i < n; i++) {
    const at = percpu.callbacks(c.pc) + 2 * i;
    if (peek(at) === CB_UNLOCK) yield* kunlock(c, peek(at + 1));
    else yield* stOnce(percpu.currentCr3(c.pc), peek(at + 1)); // raced on purpose: [X72], others look
  }
}
