/**
 * One step of a hostile guest: a hypercall, a list of them in a multicall, or accesses to memory it may not have.
 *
 * Invariant: a step is a function of the stream, the record and what the machine answers; it throws nothing. A vCPU whose
 * argument page is no longer mapped maps it again by registers alone; when that fails often, `hostileStep` answers false.
 * Lock: none.
 */
import type { Va } from '../../src/abi/frames.js';
import { HYPERVISOR_multicall, HYPERVISOR_update_va_mapping } from '../../src/abi/hypercall.js';
import { MULTICALL_ARGS, MULTICALL_WORDS, UVMF_INVLPG } from '../../src/abi/mmu.js';
import { entryLo, PAGE_NX_HI } from '../../src/abi/pte.js';
import type { Mfn } from '../../src/abi/frames.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu } from '../../src/vcpu/guest-cpu.js';
import { peekVa } from '../kernel/words.js';
import { accesses } from './accesses.js';
import { accessKind, CHURN, KIND, prepare, WEIGHTS } from './kinds.js';
import { learn } from './learn.js';
import { below, bump, chance, hostile, isWild, KINDS, SLOT_WORDS, SLOTS, type Hostile } from './record.js';
import { tallyAgainst, tallyStatus } from './tally.js';

const SLOT_BYTES = 4 * SLOT_WORDS;
/** The list of a multicall lies behind the slots. */
const LIST_AT = SLOTS * SLOT_BYTES;
const PAGE_BYTES = 4096;
const GIVE_UP = 8;

const slotVa = (h: Hostile, slot: number): Va => (peekVa(hostile.argsVa(h)) + slot * SLOT_BYTES) as Va;

/** A kind of step, as often as its weight says. */
export function anyKind(h: Hostile): number {
  const total = peek(hostile.totalWeight(h));
  if (total !== 0) return weighedKind(h, below(h, total));
  const list = peek(hostile.churns(h)) !== 0 ? CHURN : WEIGHTS;
  return list[below(h, list.length)] as number;
}

function weighedKind(h: Hostile, r: number): number {
  let k = 0;
  for (let left = r - peek(hostile.weights(h)); left >= 0 && k < KINDS - 1; left -= peek(hostile.weights(h) + k)) k++;
  return k;
}

/** Takes one step of `kind`, or of any; false: this vCPU can do nothing any more. */
export function* hostileStep(g: GuestCpu, h: Hostile, kind: number = -1): Steps<boolean> {
  bump(hostile.steps(h));
  if (g.userMode()) yield* g.toKernel();
  if (!(yield* argumentsThere(g, h))) return peek(hostile.lost(h)) < GIVE_UP;
  const k = kind < 0 ? anyKind(h) : kind;
  bump(hostile.kinds(h) + k);
  const effect = accessKind(k)
    ? yield* accesses(g, h, k)
    : k === KIND.multicall
      ? yield* multicall(g, h)
      : yield* single(g, h, k);
  if (effect) bump(hostile.effects(h) + k);
  if (g.faulted()) bump(hostile.faults(h));
  if (!g.userMode()) yield* g.poll();
  return true;
}

/** Kinds that have an effect on the domain they name: the others name it in vain, or only look. */
const reaches = (kind: number): boolean => kind === KIND.map || kind === KIND.copy || kind === KIND.events;

/** Both argument pages can be written; else each is mapped anew. */
function* argumentsThere(g: GuestCpu, h: Hostile): Steps<boolean> {
  for (let page = 0; page < 2; page++) {
    const va = (peekVa(hostile.argsVa(h)) + PAGE_BYTES * page) as Va;
    yield* g.store32(va, 0);
    if (!g.faulted()) continue;
    bump(hostile.lost(h));
    g.argVa(0, va);
    g.arg(1, entryLo(peek(hostile.argsMfn(h) + page) as Mfn, 0x67), PAGE_NX_HI);
    g.arg(2, UVMF_INVLPG, 0);
    bump(hostile.calls(h));
    yield* g.hypercall(HYPERVISOR_update_va_mapping);
    return false;
  }
  poke(hostile.lost(h), 0);
  return true;
}

/** Prepares a call of `kind` in `slot` and stores its structures. */
function* put(g: GuestCpu, h: Hostile, kind: number, slot: number): Steps<void> {
  const at = slotVa(h, slot);
  prepare(h, kind, at);
  const n = peek(hostile.structureWords(h));
  if (n > 0) yield* g.storeWords(at, hostile.structure(h), n);
}

function* single(g: GuestCpu, h: Hostile, kind: number): Steps<boolean> {
  const slot = below(h, SLOTS);
  yield* put(g, h, kind, slot);
  for (let i = 0; i < 6; i++) g.arg(i, peek(hostile.registers(h) + 2 * i), peek(hostile.registers(h) + 2 * i + 1));
  const command = peek(hostile.registers(h));
  const op = peek(hostile.op(h));
  bump(hostile.calls(h));
  const named = peek(hostile.named(h)) !== 0;
  const rc = yield* g.hypercall(op);
  tallyStatus(h, rc);
  const effect = g.userMode() ? rc >= 0 : yield* learn(g, h, op, command, slotVa(h, slot), rc);
  if (named) tallyAgainst(h, kind, effect && reaches(kind));
  return effect;
}

/** Several calls in one list; sometimes one of them is a list itself, or the list is longer than it is. */
function* multicall(g: GuestCpu, h: Hostile): Steps<boolean> {
  const n = 1 + below(h, SLOTS);
  for (let slot = 0; slot < n; slot++) yield* putEntry(g, h, slot);
  g.argVa(0, (peekVa(hostile.argsVa(h)) + LIST_AT) as Va);
  g.arg(1, isWild(h) ? below(h, 64) : n, 0);
  bump(hostile.calls(h));
  const rc = yield* g.hypercall(HYPERVISOR_multicall);
  tallyStatus(h, rc);
  if (g.userMode() || rc < 0) return false;
  for (let slot = 0; slot < n; slot++) {
    const entry = (peekVa(hostile.argsVa(h)) + LIST_AT + 4 * slot * MULTICALL_WORDS) as Va;
    const op = yield* g.load32(entry);
    const result = yield* g.load32((entry + 8) as Va);
    const command = yield* g.load32((entry + 4 * MULTICALL_ARGS) as Va);
    tallyStatus(h, result);
    yield* learn(g, h, op, command, slotVa(h, slot), result);
  }
  return true;
}

function* putEntry(g: GuestCpu, h: Hostile, slot: number): Steps<void> {
  let kind = anyKind(h);
  while (accessKind(kind) || kind === KIND.multicall || kind === KIND.domctl) kind = anyKind(h);
  yield* put(g, h, kind, slot);
  const s = hostile.structure(h);
  poke(s, chance(h, 2) ? HYPERVISOR_multicall : peek(hostile.op(h)));
  poke(s + 1, isWild(h) && chance(h, 8) ? 1 : 0);
  poke(s + 2, 0);
  poke(s + 3, 0);
  for (let i = 0; i < 12; i++) poke(s + MULTICALL_ARGS + i, peek(hostile.registers(h) + i));
  const at = (peekVa(hostile.argsVa(h)) + LIST_AT + 4 * slot * MULTICALL_WORDS) as Va;
  yield* g.storeWords(at, s, MULTICALL_WORDS);
}
