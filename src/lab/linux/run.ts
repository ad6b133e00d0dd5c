/**
 * One recording on our side: a machine, a domain, its kernel, the recorded programs; what happened comes back.
 *
 * The kernel and its programs are the guests', who are handed in: the laboratory does not see them. A recording of one
 * processor runs in this thread; what it does goes through the gate like anybody's.
 * Invariant: the machine is still when the trace is read.
 * Source: ../linux-teardown FORMAT.md.
 */
import { HypervisorBug } from '../../abi/errors.js';
import { hypervisorBoot } from '../../hypervisor/boot.js';
import { vcpu } from '../../machine/cpu-record.js';
import type { Cpu } from '../../sync/actor.js';
import { peek, poke, run } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import { decodeTrace } from '../../trace/decode.js';
import { traceRegionWords, traceStart, traceStop } from '../../trace/ring.js';
import { reserveArena } from '../run/build-guest.js';
import { OP_WORDS, SCRIPT_COUNT, SCRIPT_HEADER } from '../../abi/script.js';
import { compareRecorded, type Mismatch } from './compare.js';
import { dataPages } from './program.js';
import { Recorder, type Recorded } from './recorder.js';
import type { Recording } from './recording.js';
import { scriptOf } from './script.js';

/** A kernel that is ready to run recorded programs. */
export interface RecordedDomain {
  readonly cpus: readonly Cpu[];
  /** What a thread needs to know to run a vCPU. */
  readonly start: unknown;
  /** What vCPU `id` does from its first instruction to its halt; the first one starts the script. */
  vcpu(id: number): Steps<void>;
}

/** What the laboratory asks of the guests' side. */
export interface RecordedGuests {
  /** Builds domain 0; `pages` with a frame, room for `grants` grants; its programs follow the script at `script`. */
  build(o: { vcpus: number; pages: number; grants: number; script: number; design: string }): Steps<RecordedDomain>;
}

/** Runs the processors of a domain side by side, to their ends: as coroutines or as threads. */
export type Together = (d: RecordedDomain) => void;

/** Events kept per processor: what a case of some thousand pages makes. */
const RING = 1 << 17;
/** Pages beside the data area: tables, program, page cache, stacks, the kernel's own. */
const SPARE_PAGES = 1024;

export interface RecordingResult {
  readonly recorded: Recorded;
  readonly mismatches: readonly Mismatch[];
  /** Hypercalls of all processors, boot and set-up included. */
  readonly hypercalls: number;
}

export function runRecording(
  r: Recording,
  design: string,
  guests: RecordedGuests,
  together: Together,
): RecordingResult {
  const script = scriptOf(r);
  hypervisorBoot({});
  const d = run(function* () {
    const words = yield* reserveArena(SCRIPT_HEADER + script.words.length);
    poke(words + SCRIPT_COUNT, script.words.length / OP_WORDS);
    script.words.forEach((w, i) => {
      poke(words + SCRIPT_HEADER + i, w);
    });
    const tables = Math.ceil(dataPages(r) / 512);
    const pages = SPARE_PAGES + 2 * r.pages + tables + r.grants;
    const built = yield* guests.build({ vcpus: r.vcpus, pages, grants: r.grants, script: words, design });
    traceStart(yield* reserveArena(traceRegionWords(built.cpus.length, RING)), built.cpus, RING);
    return built;
  });
  if (r.vcpus === 1) run(() => d.vcpu(0));
  else together(d);
  const trace = decodeTrace(d.cpus);
  traceStop(d.cpus);
  if (trace.lost.some((n) => n > 0)) throw new HypervisorBug(`${r.id}: the trace lost events`);
  const recorder = new Recorder(script.names);
  for (const e of trace.entries) recorder.take(e);
  const recorded = recorder.result();
  const hypercalls = d.cpus.reduce((n, cpu) => n + peek(vcpu.nHypercalls(cpu)), 0);
  return { recorded, mismatches: compareRecorded(r, recorded), hypercalls };
}
