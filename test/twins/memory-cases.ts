/** Races of frames, types and domains, each with the twin of the hypervisor that loses it. */
import { EVTCHNOP_bind_interdomain } from '../../src/abi/event-channel.js';
import { DOMID_SELF, l4Index, makeVa, mfnWord } from '../../src/abi/frames.js';
import { HYPERVISOR_event_channel_op, HYPERVISOR_memory_op } from '../../src/abi/hypercall.js';
import { XENMEM_increase_reservation } from '../../src/abi/memory.js';
import { entryLo } from '../../src/abi/pte.js';
import * as mmu from '../../src/abi/mmu.js';
import { domain, findDomain } from '../../src/hypervisor/domain.js';
import { allocFrame, freeFrames } from '../../src/hypervisor/heap.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { makeDom, slotVa, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { balloon, mmuext } from '../audit/step-program.js';
import type { Race, TwinCase } from './harness.js';
import { before, destroyer, PTE_RW, put, setEntry, side, SLOT, store, world } from './world.js';

const PTE_RO = 0x65;
const pin = (c: Guest, level: number, mfn: number) => mmuext(c, mmu.MMUEXT_PIN_L1_TABLE + level - 1, mfn);
const unpin = (c: Guest, mfn: number) => mmuext(c, mmu.MMUEXT_UNPIN_TABLE, mfn);
const flushLocal = (c: Guest) => mmuext(c, mmu.MMUEXT_TLB_FLUSH_LOCAL, 0);

const mapper = (quantum = 0): Dom => world({ quantum }).mapper;
const frame = (d: Dom, i: number): number => d.frames[i]!;
/** The table that entry `i` of `table` names. */
const below = (table: number, i: number): number => peek(mfnWord(table as never) + 2 * i) >>> 12;
/** An entry that nothing uses. */
const LAST = 511;

/** Two L2 tables become linear links to each other. */
function linkedToEachOther(): Race {
  const d = mapper();
  before(d, 0, function* (c) {
    yield* pin(c, 2, frame(d, 0));
    yield* pin(c, 2, frame(d, 1));
  });
  return {
    sides: [
      side(d, 0, (c) => setEntry(c, frame(d, 0), 0, frame(d, 1), PTE_RO)),
      side(d, 1, (c) => setEntry(c, frame(d, 1), 0, frame(d, 0), PTE_RO)),
    ],
  };
}

/** An entry of a table is changed while the table's last other reference goes. */
function updateAndUnpin(): Race {
  const d = mapper();
  before(d, 0, (c) => pin(c, 1, frame(d, 0)));
  return {
    sides: [
      side(d, 0, (c) => setEntry(c, frame(d, 0), 0, frame(d, 1), PTE_RO)),
      side(d, 1, (c) => unpin(c, frame(d, 0))),
    ],
  };
}

/** The teardown of an L2 is interrupted, and another vCPU pins the table again before it is finished. */
function resumed(): Race {
  // Every second look answers yes; with every first one, whoever finds the table claimed would spin in continuations.
  const d = mapper(2);
  const l2 = frame(d, 0);
  for (let i = 0; i < 4; i++) put(l2, i, frame(d, 1 + i), PTE_RW);
  before(d, 0, (c) => pin(c, 2, l2));
  return { sides: [side(d, 0, (c) => unpin(c, l2)), side(d, 1, (c) => pin(c, 2, l2))] };
}

/** One vCPU makes a frame a table; the other maps it writable, stores to it, takes the entry out and does not flush. */
function mappedOnce(): Race {
  const d = mapper();
  // Once before, so that the type word afterwards is what it was.
  before(d, 0, function* (c) {
    yield* setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW);
    yield* setEntry(c, d.l1, SLOT, 0, 0);
  });
  return {
    sides: [
      side(d, 0, (c) => pin(c, 1, frame(d, 0))),
      side(d, 1, function* (c) {
        yield* setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW);
        yield* store(c, SLOT);
        yield* setEntry(c, d.l1, SLOT, 0, 0);
      }),
    ],
  };
}

/** The last writable mapping goes, from a TLB that has flushed since the frame was stamped last. */
function lastWritable(): Race {
  const d = mapper();
  before(d, 1, function* (c) {
    yield* flushLocal(c);
    yield* setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW);
    yield* store(c, SLOT);
  });
  return {
    sides: [side(d, 0, (c) => pin(c, 1, frame(d, 0))), side(d, 1, (c) => setEntry(c, d.l1, SLOT, 0, 0))],
  };
}

/**
 * The last writable mapping goes and the frame becomes a table; meanwhile another vCPU flushes, maps the frame writable, stores
 * and takes its entry out: the type word is then what it was, the stamp older than that flush.
 */
export function flushedBetween(): Race {
  const d = mapper();
  // Another L1 than the one through which the other vCPU works, so that no page lock keeps the two apart.
  const kernel = below(below(below(d.l4, l4Index(slotVa(0))), 0), 0);
  before(d, 0, (c) => setEntry(c, kernel, LAST, frame(d, 0), PTE_RW));
  return {
    sides: [
      side(d, 0, function* (c) {
        yield* setEntry(c, kernel, LAST, 0, 0);
        yield* pin(c, 1, frame(d, 0));
      }),
      side(d, 1, function* (c) {
        yield* flushLocal(c);
        yield* setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW);
        yield* store(c, SLOT);
        yield* setEntry(c, d.l1, SLOT, 0, 0);
      }),
    ],
  };
}
/** An L2 of two L1s, one exchanged for the other while an entry is stored through it. */
function exchangedL1(): Race {
  const d = mapper();
  const l2 = below(below(d.l4, l4Index(slotVa(0))), 0);
  const va = makeVa(l4Index(slotVa(0)), 0, 2, 5);
  before(d, 0, function* (c) {
    yield* setEntry(c, l2, 2, frame(d, 0), PTE_RW);
    yield* pin(c, 1, frame(d, 1)); // so that nothing is flushed for its sake later
  });
  return {
    sides: [
      side(d, 0, function* (c) {
        yield* c.updateVa(va, 0);
        yield* c.updateVa(va, entryLo(frame(d, 2) as never, PTE_RW));
      }),
      side(d, 1, (c) => setEntry(c, l2, 2, frame(d, 1), PTE_RW)),
    ],
  };
}

/** The last writable mapping goes while the other vCPU flushes and uses it once more; then the frame becomes a table. */
function usedOnceMore(): Race {
  const d = mapper();
  before(d, 1, (c) => setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW));
  return {
    sides: [
      side(d, 0, function* (c) {
        yield* setEntry(c, d.l1, SLOT, 0, 0);
        yield* pin(c, 1, frame(d, 0));
      }),
      side(d, 1, function* (c) {
        yield* flushLocal(c);
        yield* store(c, SLOT);
      }),
    ],
  };
}

/** Each of two domains binds an event channel to the other. */
function boundToEachOther(): Race {
  const { granter, mapper: d } = world();
  const bind = (domid: number) =>
    function* (c: Guest): Steps<void> {
      c.put(0, domid);
      c.put(1, 1);
      c.g.arg(0, EVTCHNOP_bind_interdomain, 0);
      c.g.argVa(1, c.va);
      yield* c.g.hypercall(HYPERVISOR_event_channel_op);
    };
  return { sides: [side(granter, 0, bind(2)), side(d, 0, bind(1))] };
}

/** Two vCPUs pin a table that turns out not to be one. */
function badTable(): Race {
  const d = mapper();
  const table = frame(d, 0);
  put(table, 0, frame(d, 1), PTE_RO);
  poke(mfnWord(table as never) + 3, 0x7fffffff);
  poke(mfnWord(table as never) + 2, 1);
  return { sides: [0, 1].map((v) => side(d, v, (c) => pin(c, 1, table))) };
}

/** Both vCPUs do the same thing to one frame. */
function both(setup: (c: Guest, mfn: number) => Steps<unknown>, what: (c: Guest, mfn: number) => Steps<unknown>) {
  return (): Race => {
    const d = mapper();
    before(d, 0, (c) => setup(c, frame(d, 0)));
    return { sides: [0, 1].map((v) => side(d, v, (c) => what(c, frame(d, 0)))) };
  };
}
function* nothing(c: Guest): Steps<void> {
  yield* c.g.poll();
}

/** Two updates of one entry. */
function sameEntry(): Race {
  const d = mapper();
  before(d, 0, (c) => setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW));
  return { sides: [0, 1].map((v) => side(d, v, (c) => setEntry(c, d.l1, SLOT, frame(d, 1 + v), PTE_RW))) };
}

/** An entry goes while its frame is made a table. */
function zapAndPin(): Race {
  const d = mapper();
  before(d, 0, (c) => setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW));
  return {
    sides: [side(d, 0, (c) => setEntry(c, d.l1, SLOT, 0, 0)), side(d, 1, (c) => pin(c, 1, frame(d, 0)))],
  };
}

/** Gives `domid` one frame more. */
function* increase(c: Guest, domid: number): Steps<number> {
  [0, 0, 1, 0, 0, 0, domid, 0].forEach((w, i) => {
    c.put(i, w);
  });
  c.g.arg(0, XENMEM_increase_reservation, 0);
  c.g.argVa(1, c.va);
  return yield* c.g.hypercall(HYPERVISOR_memory_op);
}

/** A frame goes back to Xen and comes again while another vCPU still has it in its TLB. */
function goneAndBack(): Race {
  const d = mapper();
  while (freeFrames() > 1) run(() => allocFrame(CONTROL));
  before(d, 1, (c) => setEntry(c, d.l1, SLOT, frame(d, 0), PTE_RW));
  return {
    sides: [
      side(d, 0, function* (c) {
        yield* setEntry(c, d.l1, SLOT, 0, 0);
        yield* balloon(c, frame(d, 0));
        yield* increase(c, DOMID_SELF);
        yield* increase(c, DOMID_SELF);
      }),
      side(d, 1, (c) => store(c, SLOT)),
    ],
  };
}

/** Two frames of a domain go at once. */
function twoGo(): Race {
  const d = mapper();
  return { sides: [0, 1].map((v) => side(d, v, (c) => balloon(c, frame(d, v)))) };
}

/** A dying domain is given a frame by the control domain. */
function givenWhileDying(): Race {
  const d = mapper();
  const control = makeDom({ domid: 4, privileged: true, maxGrantFrames: 1, maxMaptrackFrames: 1 });
  return {
    sides: [side(control, 0, (c) => increase(c, 2)), destroyer(d)],
    wrong: () => {
      const left = run(() => findDomain(2));
      return left === 0 ? '' : `the dead domain still owns ${String(peek(domain.totPages(left)))} frames`;
    },
  };
}

export const MEMORY_CASES: readonly TwinCase[] = [
  { twin: 'xsa-240', make: linkedToEachOther, budget: 200, breaks: ['I7'] },
  { twin: 'xsa-242', make: updateAndUnpin, budget: 200, breaks: ['page-lock'] },
  { twin: 'xsa-299', make: resumed, budget: 200, breaks: ['I3', 'bug', 'I5', 'I6'] },
  { twin: 'xsa-401', make: mappedOnce, budget: 200, breaks: ['I2'] },
  { twin: 'xsa-241', make: usedOnceMore, budget: 200, breaks: ['I2'] },
  { twin: 'xsa-286', make: exchangedL1, budget: 200, breaks: ['I5', 'I6', 'I1'] },
  { twin: 'events-unordered', make: boundToEachOther, budget: 20, breaks: ['lock-order'] },
  { twin: 'stamp-late', make: lastWritable, budget: 200, breaks: ['I2'] },
  { twin: 'validate-nowait', make: badTable, budget: 200, breaks: ['I3', 'I5', 'I6', 'bug'] },
  { twin: 'alloc-ref-race', make: both(nothing, balloon), budget: 200, breaks: ['bug', 'I3'] },
  { twin: 'pin-race', make: both(nothing, (c, m) => pin(c, 1, m)), budget: 200, breaks: ['I5', 'I6'] },
  { twin: 'unpin-race', make: both((c, m) => pin(c, 1, m), unpin), budget: 200, breaks: ['bug', 'I3'] },
  { twin: 'pte-unlocked', make: sameEntry, budget: 200, breaks: ['bug', 'I5', 'I6'] },
  { twin: 'put-before-write', make: zapAndPin, budget: 200, breaks: ['I1'] },
  { twin: 'reuse-no-flush', make: goneAndBack, budget: 200, breaks: ['I13'] },
  { twin: 'total-unlocked', make: twoGo, budget: 200, breaks: ['I3', 'bug'] },
  { twin: 'dying-unchecked', make: givenWhileDying, budget: 200, breaks: ['outcome', 'bug'] },
];
