/**
 * The control thread's side of a run: powers the machine on, has the domains built, oversees, audits.
 *
 * Invariant: it is actor 0; while vCPUs run it takes part under the hypervisor's locks as they do, so that what it
 * destroys races with what they do.
 * Lock: none held between two looks.
 */
import type { GuestReport } from '../../abi/guest.js';
import { ERESTART } from '../../abi/errno.js';
import { HypervisorBug } from '../../abi/errors.js';
import { auditMachine } from '../../audit/index.js';
import { hypervisorBoot } from '../../hypervisor/boot.js';
import { findDomain } from '../../hypervisor/domain.js';
import { destroyDomain } from '../../hypervisor/domctl.js';
import { globals } from '../../hypervisor/globals.js';
import { ARENA, FRAME_TABLE, GLOBALS, TLBS } from '../../machine/layout.js';
import { CPUS_BASE, actor, CONTROL, HEADER_BASE, type Cpu } from '../../sync/actor.js';
import { ldOnce, peek, poke, run } from '../../sync/primitives.js';
import { arenaAlloc, CHUNK } from '../../shm/arena.js';
import type { Steps } from '../../sync/steps.js';
import { traceRegionWords, traceStart } from '../../trace/ring.js';
import { Since } from '../since.js';
import type { DestroyEvent, DomainSpec } from '../../scenario/scenario.js';
import {
  besidesRefusals,
  faultCounters,
  layFaults,
  mourned,
  notInjected,
  notReclaimed,
  type LaidFault,
} from './faults.js';
import type { Stock } from '../reclaim.js';
import { besideHostile } from '../hostile/end.js';
import { noRoom } from './build-guest.js';
import { crash, isWhole, warnings } from './life.js';
import { BOARD_ENDED, type DomainWords, type MachinePlan, type Regions, type Reply, type Task } from './messages.js';
import { abortCheck, barrier, board, serve } from './serve.js';

/** How often the control plane looks at its events. */
const LOOK_MS = 2;
/** Looks after which a hostile domain that was told to end is destroyed. */
const PATIENCE = 1000;

/** What the guests' side builds: the words it counts in, and the vCPUs. */
export interface BuiltDomain {
  readonly words: DomainWords;
  readonly vcpus: readonly number[];
  /** Of a hostile domain, whose vCPUs change: where they are told. */
  readonly cpuWords?: readonly number[];
  /** What its vCPU threads are told: plain data. */
  readonly start: unknown;
}

/** What the control thread asks of the guests' side. */
export interface ControlGuests {
  /** Why the plan's design will not run, or ''. */
  refuses(plan: MachinePlan): string;
  build(plan: MachinePlan, domain: DomainSpec): Steps<BuiltDomain>;
  /** The control plane has destroyed the domain: what guests share beside the machine hears of it. */
  destroyed(domid: number): Steps<void>;
  /** All domains are built: hostile ones begin their first life; false: the machine has no room. `check` throws when it was given up. */
  begin(plan: MachinePlan, check: () => void): Steps<boolean>;
  /** Looks after hostile domains while the vCPUs run; after `patience` looks in vain it does not wait for one to end. */
  tend(patience: number): Steps<void>;
  /** Destroys the hostile domains for good. */
  endHostile(): Steps<void>;
  /** Numbers of hostile domains of which Xen forgot a table. */
  forgetful(): readonly number[];
  /** What the guests of the domains `domids` hold and found, over a still machine. */
  reports(domids: readonly number[]): readonly GuestReport[];
}

/** Serves the control thread's tasks. */
export function controlThread(guests: ControlGuests): void {
  let words: readonly DomainWords[] = [];
  serve((task: Task): Reply => {
    switch (task.kind) {
      case 'boot': {
        const reply = boot(guests, task.plan);
        if (reply.kind === 'booted') words = reply.domains;
        return reply;
      }
      case 'oversee':
        return oversee(guests, task.go, task.events, words);
      case 'audit':
        return audit(guests, task.checks, words);
      case 'vcpu':
        throw new HypervisorBug('a vCPU task for the control thread');
    }
  });
}

/** What is planned for the machine of this thread. */
const laid: {
  faults: readonly LaidFault[];
  seed: number;
  stock: Stock;
  /** The vCPUs as the scenario calls them. */
  names: ReadonlyMap<number, string>;
} = {
  names: new Map(),
  faults: [],
  seed: 0,
  stock: { cpus: [], freeFrames: 0, firstFrame: 1 },
};

/** Powers the machine on and has everything built. */
export function boot(guests: ControlGuests, plan: MachinePlan): Reply {
  const why = guests.refuses(plan);
  if (why !== '') return { kind: 'refused', why };
  const { hypervisor, domains } = plan.scenario;
  hypervisorBoot({ debug: hypervisor.build === 'debug', quantum: hypervisor.quantum, twin: hypervisor.twin });
  const freeFrames = peek(globals.freeFrames);
  const built = domains.map((d) => ({ d, b: run(() => guests.build(plan, d)) }));
  const vcpus = built.flatMap(({ d, b }) => b.vcpus.map((cpu, id) => ({ cpu, domain: d.name, domid: d.domid, id })));
  const changing = built.flatMap(({ d, b }) =>
    (b.cpuWords ?? []).map((cpuWord, id) => ({ cpu: 0, domain: d.name, domid: d.domid, id, cpuWord })),
  );
  traceAll(vcpus.map((v) => v.cpu as Cpu));
  if (!run(() => guests.begin(plan, check))) throw noRoom('a hostile domain');
  laid.faults = layFaults(plan.faults ?? [], plan.scenario.seed, vcpus);
  laid.seed = plan.scenario.seed;
  laid.names = new Map(vcpus.map((v) => [v.cpu, `${v.domain}.${String(v.id)}`]));
  laid.stock = { cpus: vcpus.map((v) => v.cpu as Cpu), freeFrames, firstFrame: 1 };
  return {
    kind: 'booted',
    control: CONTROL,
    regions: regions(),
    domains: built.map(({ b }) => b.words),
    starts: Object.fromEntries(built.map(({ d, b }) => [d.name, b.start])),
    vcpus: [...vcpus, ...changing],
  };
}

/** Events that each ring keeps, for whoever asks since when something is held. */
const TRACE_ENTRIES = 512;

/** Rings for these vCPUs, where the machine has room for them. */
function traceAll(cpus: readonly Cpu[]): void {
  const chunks = Math.ceil(traceRegionWords(cpus.length, TRACE_ENTRIES) / CHUNK);
  const base = run(() => arenaAlloc(CONTROL, peek(globals.arena), chunks));
  if (base !== 0) traceStart(base, cpus, TRACE_ENTRIES);
}

export const regions = (): Regions => [
  { name: 'machine memory', from: 0 },
  { name: 'frame table', from: FRAME_TABLE },
  { name: 'TLBs', from: TLBS },
  { name: 'hypervisor globals', from: GLOBALS },
  { name: 'arena', from: ARENA },
  { name: 'actor records', from: CPUS_BASE },
  { name: 'machine header', from: HEADER_BASE },
];

/** While the vCPUs run: carries out each event when its time has come. */
function oversee(
  guests: ControlGuests,
  go: number,
  events: readonly DestroyEvent[],
  domains: readonly DomainWords[],
): Reply {
  barrier(go);
  const destroyed: string[] = [];
  const buried: string[] = [];
  let open = [...events];
  for (;;) {
    const ended = Atomics.load(board(), BOARD_ENDED);
    abortCheck(CONTROL);
    poke(actor.beat(CONTROL), peek(actor.beat(CONTROL)) + 1);
    const due = open.filter((e) => roundsOf(domains, e.of) >= e.whenRounds);
    open = open.filter((e) => !due.includes(e));
    for (const e of due) {
      const domid = domains.find((d) => d.domain === e.destroy)?.domid ?? -1;
      run(() => destroy(domid));
      run(() => guests.destroyed(domid));
      destroyed.push(e.destroy);
    }
    for (const d of laid.faults.length === 0 ? [] : domains) {
      const why = mourned(d.domid);
      if (why === '') continue;
      run(() => destroy(d.domid));
      run(() => guests.destroyed(d.domid));
      buried.push(`${d.domain} was destroyed: ${why}`);
    }
    run(() => guests.tend(PATIENCE));
    if (ended >= go) return { kind: 'overseen', destroyed, buried, missed: open.map((e) => e.destroy) };
    Atomics.wait(board(), BOARD_ENDED, ended, LOOK_MS);
  }
}

const check = (): void => {
  abortCheck(CONTROL);
};

function roundsOf(domains: readonly DomainWords[], name: string): number {
  const d = domains.find((w) => w.domain === name);
  return d === undefined ? 0 : run(() => ldOnce(d.rounds)) >>> 0; // raced on purpose: guests count on
}

/** To its end, however often it is preempted. */
function* destroy(domid: number): Steps<void> {
  const d = yield* findDomain(domid);
  if (d === 0) return;
  for (;;) {
    abortCheck(CONTROL);
    const rc = yield* destroyDomain(CONTROL, d);
    if (rc === 0) return;
    if (rc !== -ERESTART) throw new HypervisorBug(`destroying domain ${String(domid)}: ${String(rc)}`);
  }
}

/** Violations of one invariant that are handed on; a design that leaks does so thousands of times. */
const KEPT = 50;

/** Guests of destroyed or crashed domains are not asked: their books were left as they stood. */
export function audit(guests: ControlGuests, checks: readonly string[], domains: readonly DomainWords[]): Reply {
  const beside = besideHostile(guests, domains, laid.seed, laid.stock);
  const whole = domains.filter(isWhole);
  const reports = guests.reports(whole.map((d) => d.domid));
  const told = [...auditMachine(checks, reports), ...domains.flatMap(crash), ...whole.flatMap(warnings)];
  const counted = { counters: faultCounters(laid.faults), missed: notInjected(laid.faults) };
  const all = [
    ...beside.found,
    ...beside.besides(besidesRefusals(told, laid.faults)),
    ...notReclaimed(laid.faults, laid.seed, laid.stock),
    ...beside.leftOver(),
  ];
  const totals: Record<string, number> = {};
  const kept = all.filter((v) => {
    const n = (totals[v.invariant] ?? 0) + 1;
    totals[v.invariant] = n;
    return n <= KEPT;
  });
  const since = new Since(laid.stock.cpus, (cpu) => laid.names.get(cpu) ?? '');
  const violations = kept.map((v) => since.told(v));
  return { kind: 'audited', violations, totals, faults: counted };
}
