/**
 * How far does a machine go? 4 GiB, 64 vCPUs, 10,000 processes that live at once, 100 grants mapped by each.
 *
 * One thread plays all vCPUs in turn (those that do not run are parked), so what is measured is the machine, not the
 * host's scheduler. Eight domains map what 31 others grant: a grant table has at most 64 frames, a maptrack at most 1,024.
 */
import { ERESTART } from '../src/abi/errno.js';
import { PAGE_WORDS, type Pfn } from '../src/abi/frames.js';
import { INVALID_GREF } from '../src/abi/grant.js';
import { auditMachine } from '../src/audit/index.js';
import { hypervisorBoot } from '../src/hypervisor/boot.js';
import { findDomain } from '../src/hypervisor/domain.js';
import { destroyDomain } from '../src/hypervisor/domctl.js';
import { globals } from '../src/hypervisor/globals.js';
import { freeFrames } from '../src/hypervisor/heap.js';
import { reapDomains } from '../src/hypervisor/reap.js';
import type { DomainSizes } from '../src/lab/bench/plan.js';
import { quantile } from '../src/lab/bench/stats.js';
import { FRAMES, FRAME_WORDS, CHUNK_WORDS } from '../src/machine/layout.js';
import { TOTAL_WORDS } from '../src/ops/memory.js';
import { arenaAlloc, arenaAvailable } from '../src/shm/arena.js';
import { CONTROL, type Cpu } from '../src/sync/actor.js';
import { peek, poke, run } from '../src/sync/primitives.js';
import type { Steps } from '../src/sync/steps.js';
import type { Vcpu } from '../src/vcpu/guest-cpu.js';
import { makeGuestCpu } from '../src/vcpu/vcpu.js';
import { layProcess, mapForeign } from '../guests/bench/process.js';
import { notifierAsync } from '../guests/designs/notifier-async.js';
import { grantMap } from '../guests/drivers/gntdev/map.js';
import { grantAccess } from '../guests/drivers/grants.js';
import { makeKernelCpu, makeTraps, startVcpu } from '../guests/guest.js';
import { allocZeroedPage } from '../guests/kernel/alloc.js';
import type { KernelCpu } from '../guests/kernel/context.js';
import { page } from '../guests/kernel/page.js';
import { percpu } from '../guests/kernel/records.js';
import { runTask } from '../guests/kernel/sched.js';
import { activateMm, initMm } from '../guests/kernel/switch.js';
import { AWAKE, pickTask } from '../guests/kernel/task.js';
import { reportOf } from '../guests/report.js';
import { buildBenchDomain } from '../workers/bench-build.js';
import type { Start } from '../workers/kernel.js';

const MAPPERS = 8;
const GRANTERS = 31;
const VCPUS = 64;
const GRANTS_EACH = 100;
const PAGES_EACH = 32;
/** Tables, roots, program, vdso, stack of one process. */
const OWN_EACH = 34;
const PER_GRANTER = 32_600;
/** Each granter grants so many pages, again and again. */
const GRANTED_PAGES = 400;
const BLOCKS = 10;

interface Cpus {
  readonly g: Vcpu;
  readonly c: KernelCpu;
}
interface Domain {
  readonly start: Start;
  readonly cpus: readonly Cpus[];
}

const SETTING = { design: 'notifier-async', restore: 'balloon' } as const;
const granterSizes: DomainSizes = {
  vcpus: 1,
  populated: GRANTED_PAGES + 256,
  ballooned: 16,
  areaPages: 4,
  grantFrames: 64,
  maptrackFrames: 8,
  extraChunks: 0,
};
const mapperSizes = (vcpus: number, processes: number): DomainSizes => ({
  vcpus,
  populated: processes * (PAGES_EACH + OWN_EACH) + 2048,
  ballooned: processes * GRANTS_EACH + 64,
  areaPages: 4,
  grantFrames: 1,
  maptrackFrames: 1024,
  extraChunks: 3 * processes + 256,
});

function* boot(start: Start): Steps<Domain> {
  const cpus: Cpus[] = [];
  for (const [id, cpu] of start.params.actors.entries()) {
    const traps = makeTraps();
    const g = makeGuestCpu(cpu as Cpu, traps.handlers);
    const c = makeKernelCpu(g, traps, start.k, id, notifierAsync);
    yield* g.start();
    if (!(yield* startVcpu(c, start.params))) throw new Error('a kernel does not boot');
    yield* g.park();
    cpus.push({ g, c });
  }
  return { start, cpus };
}

interface Built {
  readonly mappers: readonly Domain[];
  readonly granters: readonly Domain[];
  /** Where the references lie, in the order of the processes. */
  readonly refs: number;
}

/** The machine, all its domains booted; vCPUs are spread over the domains that map. */
function* build(processes: number): Steps<Built> {
  const each = Math.ceil(processes / MAPPERS);
  const spare = VCPUS - GRANTERS;
  const mappers: Domain[] = [];
  for (let i = 0; i < MAPPERS; i++) {
    const vcpus = Math.floor((spare + i) / MAPPERS);
    mappers.push(yield* boot(yield* buildBenchDomain(SETTING, 1 + i, mapperSizes(vcpus, each))));
  }
  const refs = yield* arenaAlloc(CONTROL, peek(globals.arena), Math.ceil((GRANTERS * PER_GRANTER) / CHUNK_WORDS));
  if (refs === 0) throw new Error('no room for the references');
  const granters: Domain[] = [];
  for (let i = 0; i < GRANTERS; i++) {
    const d = yield* boot(yield* buildBenchDomain(SETTING, 1 + MAPPERS + i, granterSizes));
    yield* grantAll(d, i, processes, refs + i * PER_GRANTER);
    granters.push(d);
  }
  return { mappers, granters, refs };
}

/** Number of the process that a reference is for, and of the domain that it lives in. */
const PROCESSES_PER_GRANTER = PER_GRANTER / GRANTS_EACH;
const mapperOf = (process: number, processes: number): number =>
  Math.min(MAPPERS - 1, Math.floor(process / Math.ceil(processes / MAPPERS)));

/** The granter grants a few pages over and over, each reference to the domain of the process that will map it. */
function* grantAll(d: Domain, number: number, processes: number, at: number): Steps<void> {
  const { g, c } = d.cpus[0] as Cpus;
  yield* g.start();
  const pages: Pfn[] = [];
  for (let i = 0; i < GRANTED_PAGES; i++) pages.push(yield* allocZeroedPage(c));
  for (let i = 0; i < PER_GRANTER; i++) {
    const process = number * PROCESSES_PER_GRANTER + Math.floor(i / GRANTS_EACH);
    if (process >= processes) break;
    const ref = yield* grantAccess(c, 1 + mapperOf(process, processes), pages[i % GRANTED_PAGES] as Pfn, false);
    if (ref === INVALID_GREF) throw new Error('a grant table is too small');
    poke(at + i, ref);
  }
  yield* g.park();
}

/** Process `n` is made, with all its pages and grants. */
function* make(mappers: readonly Domain[], n: number, processes: number, refs: number): Steps<void> {
  const d = mappers[mapperOf(n, processes)] as Domain;
  const { g, c } = d.cpus[n % d.cpus.length] as Cpus;
  yield* g.start();
  const m = yield* layProcess(c, PAGES_EACH, true);
  if (m === 0) throw new Error(`no memory for process ${String(n)}`);
  const granter = 1 + MAPPERS + Math.floor(n / PROCESSES_PER_GRANTER);
  const map = yield* mapForeign(c, m, GRANTS_EACH, refs + n * GRANTS_EACH, granter, GRANTS_EACH);
  if (map === 0 || peek(grantMap.live(map)) !== 2 * GRANTS_EACH) throw new Error(`process ${String(n)} maps nothing`);
  yield* leave(g, c);
}

/** The domain's oldest process comes to its end. */
function* end(mappers: readonly Domain[], n: number, processes: number): Steps<void> {
  const d = mappers[mapperOf(n, processes)] as Domain;
  const { g, c } = d.cpus[n % d.cpus.length] as Cpus;
  yield* g.start();
  const t = yield* pickTask(c, AWAKE);
  if (t === 0) throw new Error('a process is gone already');
  yield* runTask(c, t, AWAKE);
  yield* leave(g, c);
}

function* leave(g: Vcpu, c: KernelCpu): Steps<void> {
  yield* activateMm(c, initMm(c));
  poke(percpu.current(c.pc), 0);
  yield* g.park();
}

/** Switches the domains' vCPUs off, destroys them, and has what they occupied given back. */
function* destroyAll(domains: readonly Domain[]): Steps<void> {
  for (const { start, cpus } of domains) {
    for (const { g } of cpus) yield* g.halt();
    const { domid } = start.params;
    const d = yield* findDomain(domid);
    if (d === 0) throw new Error(`domain ${String(domid)} is not there`);
    let rc = -ERESTART;
    while (rc === -ERESTART) rc = yield* destroyDomain(CONTROL, d);
    if (rc !== 0) throw new Error(`domain ${String(domid)} answers ${String(rc)}`);
  }
  yield* reapDomains(CONTROL);
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};
const seconds = (from: number): string => `${((performance.now() - from) / 1000).toFixed(1)} s`;
const n0 = (n: number): string => Math.round(n).toLocaleString('en-US');
const mib = (words: number): number => (words * 4) / 1048576;

/** Does `step` for each process; a line per tenth: what a page of the process in its middle cost. */
function inBlocks(
  what: string,
  processes: number,
  step: (n: number) => void,
  live: (done: number) => number,
): number[] {
  const block = Math.ceil(processes / BLOCKS);
  const costs: number[] = [];
  say(`${what.padEnd(12)} live processes  live grants  ns per page`);
  for (let from = 0; from < processes; from += block) {
    const to = Math.min(processes, from + block);
    const each: number[] = [];
    for (let n = from; n < to; n++) {
      const began = performance.now();
      step(n);
      each.push(performance.now() - began);
    }
    const ns = (quantile(each, 0.5) * 1e6) / (PAGES_EACH + GRANTS_EACH);
    costs.push(ns);
    say(
      `${''.padEnd(12)} ${n0(live(to)).padStart(14)} ${n0(live(to) * GRANTS_EACH).padStart(12)} ${n0(ns).padStart(12)}`,
    );
  }
  return costs;
}

/** Largest over smallest of the blocks after the first, in which code is still being compiled. */
const unevenness = (costs: readonly number[]): string => {
  const warm = costs.slice(1);
  return (Math.max(...warm) / Math.min(...warm)).toFixed(2);
};

function overhead(before: number): void {
  const used = before - arenaAvailable(peek(globals.arena));
  say(`memory: ${n0(FRAMES)} frames; per frame ${String(4 * FRAME_WORDS)} bytes of frame record and 8 of M2P;`);
  say(
    `  hypervisor area ${n0(((TOTAL_WORDS - FRAMES * PAGE_WORDS) * 4) / FRAMES)} bytes a frame reserved, ` +
      `${n0((used * CHUNK_WORDS * 4) / FRAMES)} of them in use by ${n0(mib(used * CHUNK_WORDS))} MiB of domains' and kernels' records,`,
  );
  say(
    `  struct page ${String(4 * page.words)} and p2m 4 bytes a pfn among them; resident: ${n0(process.memoryUsage().rss / 1048576)} MiB`,
  );
}

function all(processes: number, audit: boolean): void {
  const began = performance.now();
  hypervisorBoot({});
  const frames = freeFrames();
  const chunks = arenaAvailable(peek(globals.arena));
  const { mappers, granters, refs } = run(() => build(processes));
  say(
    `booted ${String(MAPPERS + GRANTERS)} domains with ${String(VCPUS)} vCPUs on ${n0(mib(TOTAL_WORDS))} MiB in ${seconds(began)}`,
  );
  const made = inBlocks(
    'made',
    processes,
    (n) => run(() => make(mappers, n, processes, refs)),
    (done) => done,
  );
  overhead(chunks);
  if (audit) {
    const from = performance.now();
    const found = auditMachine(
      [],
      mappers.map((d) => reportOf(d.start.k, notifierAsync)),
    );
    say(`audited at the peak in ${seconds(from)}: ${found.length === 0 ? 'clean' : `${n0(found.length)} findings`}`);
    if (found.length > 0) throw new Error(found[0]?.detail ?? '');
  }
  const ended = inBlocks(
    'ended',
    processes,
    (n) => run(() => end(mappers, n, processes)),
    (done) => processes - done,
  );
  say(
    `unevenness of the cost per page, dearest block over cheapest: made ${unevenness(made)}, ended ${unevenness(ended)}`,
  );
  const from = performance.now();
  run(() => destroyAll([...mappers, ...granters]));
  const lost = frames - freeFrames();
  say(`domains destroyed in ${seconds(from)}; frames not back: ${n0(lost)}; in all ${seconds(began)}`);
  if (lost !== 0) throw new Error('frames were lost');
}

/** From nothing to the first guest instruction of a machine of three domains, in this process. */
function start(): void {
  const began = performance.now();
  hypervisorBoot({});
  const sizes = { ...granterSizes, grantFrames: 4, populated: 512 };
  const first = run(function* () {
    const starts: Start[] = [];
    for (let domid = 1; domid <= 3; domid++) starts.push(yield* buildBenchDomain(SETTING, domid, sizes));
    const s = starts[0] as Start;
    const g = makeGuestCpu(s.params.actors[0] as Cpu, makeTraps().handlers);
    yield* g.start();
    return performance.now();
  });
  const ms = first - began;
  const sinceProcess = first;
  say(
    `three domains: first guest instruction after ${ms.toFixed(0)} ms, ${sinceProcess.toFixed(0)} ms after the process began`,
  );
  if (sinceProcess > START_MS) throw new Error(`more than ${String(START_MS)} ms`);
}

const START_MS = 1000;
const DEFAULT_PROCESSES = 10_000;

const [, , what, ...rest] = process.argv;
if (what === 'start') start();
else {
  const count = rest.find((a) => /^[0-9]+$/.test(a));
  const processes = Math.min(GRANTERS * PROCESSES_PER_GRANTER, Math.max(MAPPERS, Number(count ?? DEFAULT_PROCESSES)));
  all(processes, rest.includes('--audit'));
}
