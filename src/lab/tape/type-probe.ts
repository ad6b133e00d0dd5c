/**
 * Who owns each frame of the tape, and its type: getpageframeinfo3 asked of every domain that may own it.
 *
 * Invariant: every named frame is asked for after every operation. The list of frames lies ready in a template page,
 * grouped by the owner last seen; only frames that this owner disowns are asked of the others.
 * Source: tapes FORMAT.md (types); XEN_DOMCTL_getpageframeinfo3.
 */
import * as domctl from '../../abi/domctl.js';
import type { Va } from '../../abi/frames.js';
import { HYPERVISOR_domctl } from '../../abi/hypercall.js';
import { vcpu } from '../../machine/cpu-record.js';
import { peek } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import type { MutableProbeState } from './compare.js';
import { LIST_VA, TEMPLATE_VA, vaArg, type TapeGuest } from './guest.js';
import { putDomctl } from './memory-ops.js';
import { domidOf } from './symbols.js';
import type { TapeMachine } from './tape-machine.js';
import { fromInteger } from './value.js';

/** Words of guest memory read at a time, into the vCPU's own words. */
const CHUNK = 64;
const at = (i: number): Va => (LIST_VA + 8 * i) as Va;

/** Names in the order of the template page, and which domain's group each stretch of them is. */
export interface TypeGroups {
  names: string[];
  groups: { owner: string; start: number; size: number }[];
  /** Frames known to the machine when the template was written. */
  known: number;
}

export const noGroups = (): TypeGroups => ({ names: [], groups: [], known: -1 });

export function* readTypes(m: TapeMachine, state: MutableProbeState): Steps<void> {
  const d0 = m.d0;
  const t = m.typeGroups;
  if (t.known !== m.symbols.size) yield* regroup(m, state);
  yield* d0.g.copyPage(LIST_VA, TEMPLATE_VA);
  const strays: [name: string, asked: string][] = [];
  let moved = false;
  for (const g of t.groups) {
    const words = yield* ask(d0, g.owner, g.start, g.size);
    for (let i = 0; i < g.size; i++) {
      const name = t.names[g.start + i] ?? '';
      const type = typeText(g.owner, words[i] ?? 0);
      if (type === undefined) strays.push([name, g.owner]);
      else state.types.set(name, type);
    }
  }
  for (const [name, asked] of strays) {
    const before = state.types.get(name) ?? null;
    const type = yield* ownerOfStray(m, name, asked);
    state.types.set(name, type);
    if (ownerIn(type) !== ownerIn(before)) moved = true;
  }
  if (moved) t.known = -1;
}

const ownerIn = (type: string | null): string => (type === null ? '' : (type.split(':')[0] ?? ''));

/** Asks every domain but the one that disowned the frame already. */
function* ownerOfStray(m: TapeMachine, name: string, asked: string): Steps<string | null> {
  const end = m.typeGroups.names.length;
  for (const owner of m.domains()) {
    if (owner === asked) continue;
    yield* m.d0.store(at(end), fromInteger(m.symbols.mfn(name)));
    const words = yield* ask(m.d0, owner, end, 1);
    const type = typeText(owner, words[0] ?? 0);
    if (type !== undefined) return type;
  }
  return null;
}

/** Writes the template page anew: frames by the owner last seen, those of nobody with d0's. */
function* regroup(m: TapeMachine, state: MutableProbeState): Steps<void> {
  const t = m.typeGroups;
  t.names = [];
  t.groups = [];
  for (const owner of m.domains()) {
    const start = t.names.length;
    for (const [name] of m.symbols.frames()) {
      const last = ownerIn(state.types.get(name) ?? null);
      if ((last === '' ? 'd0' : last) === owner) t.names.push(name);
    }
    if (t.names.length > start) t.groups.push({ owner, start, size: t.names.length - start });
  }
  for (const [i, name] of t.names.entries()) {
    yield* m.d0.store((TEMPLATE_VA + 8 * i) as Va, fromInteger(m.symbols.mfn(name)));
  }
  t.known = m.symbols.size;
}

/** Types of `size` frames from `start` in the list page; every frame is disowned by a domain that does not exist. */
function* ask(d0: TapeGuest, owner: string, start: number, size: number): Steps<number[]> {
  yield* putDomctl(d0, domctl.XEN_DOMCTL_getpageframeinfo3, domidOf(owner));
  yield* d0.put64(domctl.DOMCTL_U + domctl.FRAMEINFO_NUM, fromInteger(size));
  yield* d0.put64(domctl.DOMCTL_U + domctl.FRAMEINFO_ARRAY, vaArg(at(start)));
  const rc = yield* d0.call(HYPERVISOR_domctl, d0.pointer(0));
  if (rc !== 0) return new Array<number>(size).fill(domctl.XEN_DOMCTL_PFINFO_XTAB);
  const out: number[] = [];
  const to = vcpu.guest(d0.g.cpu);
  for (let done = 0; done < size; done += CHUNK / 2) {
    const n = Math.min(CHUNK / 2, size - done);
    yield* d0.g.loadWords(to, at(start + done), 2 * n);
    for (let i = 0; i < n; i++) out.push(peek(to + 2 * i));
  }
  return out;
}

/** `d1:L1+PIN`, or undefined when the domain does not own the frame. */
function typeText(owner: string, word: number): string | undefined {
  if (word >>> 0 === domctl.XEN_DOMCTL_PFINFO_XTAB >>> 0) return undefined;
  const level = (word & domctl.XEN_DOMCTL_PFINFO_LTABTYPE_MASK) >>> 28;
  const pin = (word & domctl.XEN_DOMCTL_PFINFO_LPINTAB) === 0 ? '' : '+PIN';
  return `${owner}:${level === 0 ? 'NOTAB' : `L${String(level)}`}${pin}`;
}
