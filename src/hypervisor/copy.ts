/**
 * Copies between guest memory and the hypervisor's words, through the calling vCPU's TLB.
 *
 * Invariant: an address inside Xen's part of the address space is refused before anything is read; one structure is
 * read once, as one schedule point per page it touches.
 * Lock: may be called under any lock but takes none; a flush request waits until the access is over.
 * Source: copy_from_guest, copy_to_guest, access_ok, __addr_ok (xen/arch/x86/include/asm/uaccess.h).
 * Differs: structures must lie on 4-byte boundaries, otherwise -EFAULT.
 */
import { canonicalVa, makeVa, PAGE_SIZE, type Va } from '../abi/frames.js';
import { ROOT_XEN_LAST } from '../abi/pte.js';
import { beginAccess, endAccess } from '../machine/flush.js';
import { ACCESS_READ, ACCESS_WRITE, translate } from '../machine/tlb.js';
import type { Cpu } from '../sync/actor.js';
import { peek, poke, touch } from '../sync/primitives.js';
import { POINT_ONCE, POINT_READ, POINT_WRITE } from '../sync/schedule.js';
import type { Steps } from '../sync/steps.js';
import { argHi, argLo } from './preempt.js';

const LOWER_HALF_END = 2 ** 47;
const UPPER_GUEST_START = makeVa(ROOT_XEN_LAST + 1);
const END = 2 ** 48;

/** May a guest name this address? (Not: is something mapped there.) */
export const addrOk = (va: number): boolean => va >= 0 && (va < LOWER_HALF_END || va >= UPPER_GUEST_START);
/** The pointer in argument register `i`; negative when it is not canonical. */
export const guestPointer = (cpu: Cpu, i: number): Va => canonicalVa(argLo(cpu, i), argHi(cpu, i));
export const isNull = (cpu: Cpu, i: number): boolean => (argLo(cpu, i) | argHi(cpu, i)) === 0;

/** Copies `n` words from the guest's address into hypervisor words; false: -EFAULT, and the target is undefined. */
export function* copyFromVa(cpu: Cpu, va: Va, to: number, n: number): Steps<boolean> {
  return yield* copyVa(cpu, va, to, n, ACCESS_READ);
}
/** Copies `n` hypervisor words to the guest's address; false: -EFAULT, some of them may have been written. */
export function* copyToVa(cpu: Cpu, va: Va, from: number, n: number): Steps<boolean> {
  return yield* copyVa(cpu, va, from, n, ACCESS_WRITE);
}
export function* copyFromGuest(cpu: Cpu, vaLo: number, vaHi: number, to: number, n: number): Steps<boolean> {
  return yield* copyVa(cpu, canonicalVa(vaLo, vaHi), to, n, ACCESS_READ);
}
export function* copyToGuest(cpu: Cpu, vaLo: number, vaHi: number, from: number, n: number): Steps<boolean> {
  return yield* copyVa(cpu, canonicalVa(vaLo, vaHi), from, n, ACCESS_WRITE);
}

/** Page by page: `own` is the hypervisor's side, `access` says which way. */
function* copyVa(cpu: Cpu, va: Va, own: number, n: number, access: number): Steps<boolean> {
  if (!addrOk(va) || (va & 3) !== 0 || va + n * 4 > END) return false;
  yield* beginAccess(cpu);
  let at: number = va;
  let mine = own;
  let left = n;
  while (left > 0) {
    const piece = Math.min(left, (PAGE_SIZE - (at & (PAGE_SIZE - 1))) >> 2);
    const word = addrOk(at) ? yield* translate(cpu, at as Va, access) : -1;
    if (word < 0) break;
    yield* moveWords(word, mine, piece, access);
    at += piece * 4;
    mine += piece;
    left -= piece;
  }
  yield* endAccess(cpu);
  return left === 0;
}

/** Guest words race with other vCPUs on purpose: the guest may change what it passes. */
function* moveWords(word: number, mine: number, n: number, access: number): Steps<void> {
  if (access === ACCESS_READ) {
    yield* touch(word, n, POINT_READ | POINT_ONCE);
    for (let i = 0; i < n; i++) poke(mine + i, peek(word + i));
  } else {
    yield* touch(word, n, POINT_WRITE | POINT_ONCE);
    for (let i = 0; i < n; i++) poke(word + i, peek(mine + i));
  }
}
