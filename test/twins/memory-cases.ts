/** Races of frames, types and domains, each with the twin of the hypervisor that loses it. */
import { DOMID_SELF, mfnWord } from '../../src/abi/frames.js';
import { HYPERVISOR_memory_op } from '../../src/abi/hypercall.js';
import { XENMEM_increase_reservation } from '../../src/abi/memory.js';
import * as mmu from '../../src/abi/mmu.js';
import { domain, findDomain } from '../../src/hypervisor/domain.js';
import { allocFrame, freeFrames } from '../../src/hypervisor/heap.js';
import { CONTROL } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { makeDom, type Dom, type Guest } from '../hypervisor/grant/lab.js';
import { balloon, mmuext } from '../audit/step-program.js';
import type { Race, TwinCase } from './harness.js';
import { before, destroyer, PTE_RW, put, setEntry, side, SLOT, store, world } from './world.js';

const PTE_RO = 0x65;
const pin = (c: Guest, level: number, mfn: number) => mmuext(c, mmu.MMUEXT_PIN_L1_TABLE + level - 1, mfn);
const unpin = (c: Guest, mfn: number) => mmuext(c, mmu.MMUEXT_UNPIN_TABLE, mfn);
const flushLocal = (c: Guest) => mmuext(c, mmu.MMUEXT_TLB_FLUSH_LOCAL, 0);

const mapper = (quantum = 0): Dom => world({ quantum }).mapper;
const frame = (d: Dom, i: number): number => d.frames[i]!;

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
