/** Races of grants, each with the twin of the hypervisor that loses it. */
import * as gnt from '../../src/abi/grant.js';
import { domain } from '../../src/hypervisor/domain.js';
import { grantTable } from '../../src/hypervisor/grant/table.js';
import type { Va } from '../../src/abi/frames.js';
import { peek, poke } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { copyOp, GRANTS_VA, makeDom, on, setVersion, slotVa, transferOp, type Guest } from '../hypervisor/grant/lab.js';
import { entryWord } from '../hypervisor/grant/tables.js';
import { balloon } from '../audit/step-program.js';
import type { Race, TwinCase } from './harness.js';
import {
  before,
  DEV,
  destroyer,
  entryVa,
  mapped,
  PTE_RW,
  REF,
  RW,
  setEntry,
  side,
  SLOT,
  store,
  world,
} from './world.js';

/** A slot below which there is no table. */
const NO_L1 = 600;
const CLAIMS = gnt.GTF_reading | gnt.GTF_writing;
const map = (c: Guest, ref: number, slot: number, flags = RW) => c.map({ dom: 1, ref, flags, slot });

/** Host and device half of one handle, undone by two vCPUs at once. */
function halves(): Race {
  const { granter, mapper } = world();
  const handle = mapped(mapper, REF, RW | DEV, SLOT);
  return {
    sides: [
      side(mapper, 0, (c) => c.unmap({ handle, slot: SLOT })),
      side(mapper, 1, (c) => c.unmap({ handle, dev: granter.frames[0]! << 12 })),
    ],
  };
}

/** One vCPU unmaps what another one stores to. */
function unmapAndStore(busy: (c: Guest) => Steps<unknown>): () => Race {
  return () => {
    const { mapper } = world();
    const handle = mapped(mapper, REF, RW, SLOT);
    return {
      sides: [
        side(mapper, 0, (c) => c.unmap({ handle, slot: SLOT })),
        side(mapper, 1, function* (c) {
          yield* store(c, SLOT);
          yield* busy(c);
        }),
      ],
    };
  };
}
function* nothing(c: Guest): Steps<void> {
  yield* c.g.poll();
}
const query = (c: Guest): Steps<number> => c.grantOp(gnt.GNTTABOP_query_size, 1);

/** Both vCPUs map; one has no handles of its own and steals. */
function thief(): Race {
  const { mapper } = world();
  mapped(mapper, REF, RW, SLOT);
  return {
    sides: [side(mapper, 0, (c) => map(c, REF, SLOT + 1)), side(mapper, 1, (c) => map(c, REF + 1, SLOT + 2))],
  };
}

const copyFrom = (c: Guest, ref: number, mfn: number) =>
  copyOp(c, [{ source: { dom: 1, ref, offset: 0 }, dest: { dom: 0x7ff0, mfn, offset: 0 }, length: 4 }]);

/** A copy comes and goes while the grant is mapped for a device. */
function copyUnderDevice(): Race {
  const { granter, mapper } = world();
  const handle = mapped(mapper, REF, DEV, SLOT);
  return {
    sides: [
      side(mapper, 0, (c) => copyFrom(c, REF, mapper.frames[0]!)),
      side(mapper, 1, (c) => c.unmap({ handle, dev: (granter.frames[0]! << 12) | 1 })),
    ],
  };
}

/** Two copies of a frame that its owner gives up: it keeps it by one entry of its own, and removes that. */
function copiesOfLast(): Race {
  const { granter, mapper } = world();
  before(granter, 0, function* (c) {
    yield* setEntry(c, granter.l1, SLOT, granter.frames[0]!, 0x65);
    yield* balloon(c, granter.frames[0]!);
  });
  return {
    sides: [
      side(mapper, 0, (c) => copyFrom(c, REF, mapper.frames[0]!)),
      side(mapper, 1, (c) => copyFrom(c, REF, mapper.frames[1]!)),
      side(granter, 0, (c) => setEntry(c, granter.l1, SLOT, 0, 0)),
    ],
  };
}

/** The granter transfers the frame away that the mapper is about to map; d3 accepts it, or nobody. */
function transferAndMap(accepted: boolean): () => Race {
  return () => {
    const { granter, mapper } = world();
    const taker = makeDom({ domid: 3, maxGrantFrames: 1, maxMaptrackFrames: 1 });
    if (accepted) {
      poke(entryWord(taker.gt, REF) + 1, 0);
      poke(entryWord(taker.gt, REF), gnt.GTF_accept_transfer | (1 << 16));
    }
    return {
      sides: [
        side(mapper, 0, (c) => map(c, REF, SLOT)),
        side(granter, 0, (c) => transferOp(c, granter.frames[0]!, 3, REF)),
      ],
    };
  };
}

/** The owner gives the frame back that is being mapped. */
function balloonAndMap(): Race {
  const { granter, mapper } = world();
  return {
    sides: [side(mapper, 0, (c) => map(c, REF, SLOT)), side(granter, 0, (c) => balloon(c, granter.frames[0]!))],
  };
}

/** A map against a revoke; in `won` both say whether they did. */
function revoked(version: 1 | 2): () => Race {
  return () => {
    const { granter, mapper } = world();
    const won = { map: false, revoke: false };
    const entry = (version === 1 ? entryVa(REF) : GRANTS_VA + REF * 16) as Va;
    const status = (slotVa(60) + REF * 2) as Va;
    if (version === 2) useV2(granter);
    return {
      begin: () => {
        won.map = won.revoke = false;
      },
      wrong: () => (won.map && won.revoke ? 'the granter revoked a grant that is mapped' : ''),
      sides: [
        side(mapper, 0, function* (c) {
          const [r] = yield* map(c, REF, SLOT);
          won.map = r?.status === gnt.GNTST_okay;
        }),
        side(granter, 0, function* (c) {
          won.revoke = version === 1 ? yield* revokeV1(c, entry) : yield* revokeV2(c, entry, status);
        }),
      ],
    };
  };
}

function* revokeV1(c: Guest, entry: Va): Steps<boolean> {
  for (;;) {
    const flags = yield* c.g.load16(entry);
    if ((flags & CLAIMS) !== 0) return false;
    if ((yield* c.g.cmpxchg16(entry, flags, 0)) === 1) return true;
  }
}
function* revokeV2(c: Guest, entry: Va, status: Va): Steps<boolean> {
  yield* c.g.store16(entry, 0);
  return ((yield* c.g.load16(status)) & CLAIMS) === 0;
}

/** The granter's table becomes one of version 2 with both grants in it; its kernel sees the status at slot 60. */
function useV2(granter: ReturnType<typeof makeDom>): void {
  if (setVersion(granter, 2) !== 0) throw new Error('the setup has no version 2');
  const c = granter.cpus[0]!;
  const frame = peek(peek(grantTable.statusList(granter.gt)));
  on(c, () => setEntry(c, granter.l1, 60, frame, PTE_RW));
  for (let i = 0; i < 2; i++) {
    const at = entryWord(granter.gt, REF + i);
    poke(at + 2, granter.frames[i]!);
    poke(at, gnt.GTF_permit_access | (2 << 16));
  }
}

/** Two references share a status word: one is let go, the other one taken. */
function neighbours(): Race {
  const { granter, mapper } = world();
  useV2(granter);
  const handle = mapped(mapper, REF, RW, SLOT);
  return {
    sides: [side(mapper, 0, (c) => c.unmap({ handle, slot: SLOT })), side(mapper, 1, (c) => map(c, REF + 1, SLOT + 1))],
  };
}

/** The granter puts another frame into an entry that is in use. */
function changedFrame(): Race {
  const { granter, mapper } = world();
  mapped(mapper, REF, RW, SLOT);
  return {
    sides: [
      side(mapper, 1, (c) => map(c, REF, SLOT + 1)),
      side(granter, 0, (c) => c.g.store32((entryVa(REF) + 4) as Va, granter.frames[2]!)),
    ],
  };
}

/** A handle is guessed and unmapped while it is being made; the map that it is for fails in the end, or does not. */
function guessed(slot: number, fails: boolean): () => Race {
  return () => {
    const { mapper } = world();
    const handle = mapped(mapper, REF, RW, SLOT) + 1;
    const maps = (c: Guest) => map(c, REF, fails ? NO_L1 : SLOT + 1);
    return {
      sides: [side(mapper, 0, maps), side(mapper, 1, (c) => c.unmap({ handle, slot }))],
      wrong: () => (peek(domain.shuttingDown(mapper.d)) !== 0 ? 'the mapper was crashed, and its granter lives' : ''),
    };
  };
}

/** Two vCPUs unmap the same mapping of a device. */
function twice(): Race {
  const { granter, mapper } = world();
  const handle = mapped(mapper, REF, DEV, SLOT);
  const dev = granter.frames[0]! << 12;
  return { sides: [0, 1].map((v) => side(mapper, v, (c) => c.unmap({ handle, dev }))) };
}

/** The mapper dies while it maps. */
function deathWhileMapping(): Race {
  const { mapper } = world();
  return { sides: [side(mapper, 0, (c) => map(c, REF, SLOT)), destroyer(mapper)] };
}

/** The granter changes version while the mapper maps. */
function versionAndMap(): Race {
  const { granter, mapper } = world();
  return {
    sides: [
      side(granter, 0, function* (c) {
        c.put(0, 2);
        yield* c.grantOp(gnt.GNTTABOP_set_version, 1);
      }),
      side(mapper, 0, (c) => map(c, REF, SLOT)),
    ],
  };
}

export const GRANT_CASES: readonly TwinCase[] = [
  { twin: 'xsa-218-handle', make: halves, budget: 300, breaks: ['I14'] },
  { twin: 'xsa-218-pin', make: unmapAndStore(nothing), budget: 300, breaks: ['I12'] },
  { twin: 'xsa-228', make: thief, budget: 300, breaks: ['I14', 'I8', 'bug'] },
  { twin: 'xsa-230', make: copyUnderDevice, budget: 300, breaks: ['I9'] },
  { twin: 'xsa-236', make: copiesOfLast, budget: 300, breaks: ['bug', 'I3'] },
  { twin: 'xsa-287', make: transferAndMap(false), budget: 300, breaks: ['bug', 'I3'] },
  { twin: 'owner-before-ref', make: transferAndMap(true), budget: 300, breaks: ['I12', 'I13'] },
  { twin: 'get-blind', make: balloonAndMap, budget: 300, breaks: ['I3'] },
  { twin: 'v1-claim-blind', make: revoked(1), budget: 300, breaks: ['outcome'] },
  { twin: 'v2-no-reread', make: revoked(2), budget: 300, breaks: ['outcome'] },
  { twin: 'status-not-locked', make: neighbours, budget: 300, breaks: ['I12', 'I9'] },
  { twin: 'relatch', make: changedFrame, budget: 300, breaks: ['I12', 'I10', 'I11'] },
  { twin: 'publish-early', make: guessed(SLOT, true), budget: 300, breaks: ['I8', 'I10', 'I14', 'bug'] },
  { twin: 'flags-first', make: guessed(SLOT + 1, false), budget: 300, breaks: ['outcome'] },
  { twin: 'unmap-unchecked', make: twice, preemptions: 2, budget: 3000, breaks: ['bug', 'I8', 'I3'] },
  { twin: 'unmap-no-flush', make: unmapAndStore(nothing), budget: 300, breaks: ['I12'] },
  { twin: 'flush-guest-mode-only', make: unmapAndStore(query), budget: 300, breaks: ['I12'] },
  { twin: 'destroy-no-wait', make: deathWhileMapping, budget: 300, breaks: ['bug', 'I8', 'I9', 'I5', 'I14'] },
  { twin: 'version-early', make: versionAndMap, budget: 300, breaks: ['I12', 'I9'] },
];
