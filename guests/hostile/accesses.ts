/**
 * Steps that are no hypercalls: loads and stores anywhere, stores to page tables through read-only mappings ([X36]), grant
 * entries, a sibling's arguments while it is in the hypervisor, user mode, the interrupt mask; and what rings.ts does beside
 * normal guests.
 */
import type { Mfn, Va } from '../../src/abi/frames.js';
import { entryLo } from '../../src/abi/pte.js';
import { peek } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import type { GuestCpu } from '../../src/vcpu/guest-cpu.js';
import { peekVa } from '../kernel/words.js';
import { entryStore } from './grant-calls.js';
import { KIND } from './kinds.js';
import { offerRing, serveRing, storm } from './rings.js';
import { below, bump, chance, draw, hostile, isWild, type Hostile } from './record.js';
import { index, mfn, noise, oneOf, pageVa, wildVa } from './values.js';

/** Makes the accesses of one step; whether they had an effect. */
export function* accesses(g: GuestCpu, h: Hostile, kind: number): Steps<boolean> {
  switch (kind) {
    case KIND.load:
      yield* load(g, h);
      break;
    case KIND.store:
      yield* store(g, h);
      break;
    case KIND.tableStore:
      yield* tableStore(g, h);
      break;
    case KIND.grantEntry:
      yield* grantEntry(g, h);
      break;
    case KIND.scribble:
      yield* scribble(g, h);
      break;
    case KIND.userMode:
      yield* userMode(g, h);
      break;
    case KIND.offerRing:
      return yield* offerRing(g, h);
    case KIND.serveRing:
      return yield* serveRing(g, h);
    case KIND.storm:
      return yield* storm(g, h);
    default:
      yield* mask(g, h);
  }
  if (!g.faulted()) return true;
  bump(hostile.faults(h));
  return false;
}

const place = (h: Hostile): Va => (chance(h, 190) ? ((pageVa(h) + 8 * below(h, 512)) as Va) : wildVa(h));
/** The same for accesses of whole words. */
const aligned = (h: Hostile): Va => floor8(place(h));
const floor8 = (va: Va): Va => (va - (va % 8)) as Va;

function* load(g: GuestCpu, h: Hostile): Steps<void> {
  const r = below(h, 6);
  if (r === 0) yield* g.load32(floor4(place(h)));
  else if (r === 1) yield* g.load16(floor2(place(h)));
  else if (r === 2) yield* g.load8(place(h));
  else if (r === 3) yield* g.fetch(place(h));
  else if (r === 4) yield* g.loadWords(hostile.structure(h), floor4(place(h)), 1 + below(h, 64));
  else yield* g.load(aligned(h));
}
const floor4 = (va: Va): Va => (va - (va % 4)) as Va;
const floor2 = (va: Va): Va => (va - (va % 2)) as Va;

function* store(g: GuestCpu, h: Hostile): Steps<void> {
  const r = below(h, 8);
  if (r === 0) yield* g.store32(floor4(place(h)), noise(h));
  else if (r === 1) yield* g.store16(floor2(place(h)), noise(h));
  else if (r === 2) yield* g.store8(place(h), noise(h));
  else if (r === 3) yield* g.clearPage(pageOf(place(h)));
  else if (r === 4) yield* g.copyPage(pageOf(place(h)), pageOf(place(h)));
  else if (r === 5) yield* g.storeWords(floor4(place(h)), hostile.structure(h), 1 + below(h, 64));
  else if (r === 6) yield* g.cmpxchg(aligned(h), 0, 0, noise(h), noise(h));
  else yield* g.store(aligned(h), noise(h), noise(h));
}
const pageOf = (va: Va): Va => (va - (va % 4096)) as Va;

/** Entries through whatever maps the table: emulated where it is a read-only mapping of an L1 in use. */
function* tableStore(g: GuestCpu, h: Hostile): Steps<void> {
  const va = (pageOf(pageVa(h)) + 8 * index(h)) as Va;
  const lo = isWild(h) ? noise(h) : entryLo(mfn(h, 0) as Mfn, oneOf(h, [0x67, 0x25, 0x65, 0, 0x07]));
  const hi = isWild(h) ? noise(h) : 0;
  const r = below(h, 5);
  if (r === 0) {
    const old = yield* g.load(va);
    yield* g.cmpxchg(va, old, 0, lo, hi);
  } else if (r === 1) yield* g.xchg(va, 0, 0);
  else if (r === 2) yield* g.store32(va, lo);
  else if (r === 3) yield* g.cmpxchg32(va, lo, 0);
  else yield* g.store(va, lo, hi);
}

function* grantEntry(g: GuestCpu, h: Hostile): Steps<void> {
  if (peek(hostile.grantPages(h)) === 0) return;
  const s = entryStore(h);
  // A kernel's way to end a grant is a compare-exchange; a hostile one stores over it.
  if (chance(h, 24)) yield* g.cmpxchg32(s.va, yield* g.load32(s.va), 0);
  else yield* g.store(s.va, s.lo, s.hi);
}

/** Somewhere in the argument pages of all vCPUs of the domain. */
function* scribble(g: GuestCpu, h: Hostile): Steps<void> {
  const at = peekVa(hostile.areaVa(h));
  for (let n = 1 + below(h, 8); n > 0; n--) {
    yield* g.store32((at + 4 * below(h, 1024 * peek(hostile.areaPages(h)))) as Va, noise(h));
  }
}

/** Through the user root, if there is one (without it the hypervisor ends the domain): a few accesses, a refused call. */
function* userMode(g: GuestCpu, h: Hostile): Steps<void> {
  if (!chance(h, 8)) return;
  yield* g.toUser();
  yield* g.load(aligned(h));
  yield* g.store(aligned(h), draw(h) | 0, 0);
  yield* g.hypercall(1);
  yield* g.toKernel();
}

function* mask(g: GuestCpu, h: Hostile): Steps<void> {
  if (chance(h, 100)) g.maskEvents();
  else yield* g.unmaskEvents();
}
