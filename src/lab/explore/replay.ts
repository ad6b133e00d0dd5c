/** Replaying one schedule in a search thread: runs it, and writes down what happened. */
import { Loop } from '../../explore/loop.js';
import { Replay } from '../../explore/replay.js';
import type { Schedule } from '../../explore/schedule.js';
import { checkOf, judge } from '../../explore/search.js';
import type { Held } from '../../abi/guest.js';
import { words } from '../../ops/memory.js';
import { cpuIndex } from '../../sync/actor.js';
import { peek } from '../../sync/primitives.js';
import { COUNT, ENTRY_WORDS, LINE, MASK, TRACE_RING, traceStart } from '../../trace/ring.js';
import { Since } from '../since.js';
import { eventText } from './event-text.js';
import { TRACE_ENTRIES } from './machine.js';
import { Notes, TraceHash, type Recording } from './record.js';
import type { Subject } from './subject.js';

/** The trace hash of the execution that the schedule gives. */
export function traceOf(subject: Subject, schedule: Schedule, bound: number): string {
  const hash = new TraceHash(new Replay(schedule));
  const loop = new Loop(subject.machine.sides.length);
  const checks = checkOf(subject, subject.races);
  checks.begin();
  loop.execute(subject.start(), hash, bound, checks.check);
  return hash.hash;
}

export function record(subject: Subject, schedule: Schedule, bound: number): Recording {
  const { machine } = subject;
  const { sides } = machine;
  const inner = new Replay(schedule);
  const notes = new Notes(inner, subject.names, (side) => eventsOf(sides[side]?.cpu ?? 0, seen));
  const seen = new Map<number, number>();
  const hash = new TraceHash(notes);
  const loop = new Loop(sides.length);
  machine.observer = (side, text) => {
    notes.note(loop.steps, side, text, 'step');
  };
  const checks = checkOf(subject, subject.races);
  checks.begin();
  const bodies = subject.start();
  traceStart(machine.traceRegion, sides.map((s) => s.cpu), TRACE_ENTRIES); // prettier-ignore
  const outcome = loop.execute(bodies, hash, bound, checks.check);
  machine.observer = undefined;
  notes.finish(loop);
  const since = new Since(machine.vcpus, (cpu) => machine.actorName(cpuIndex(cpu)), machine.setupTrace);
  const findings = judge(subject, outcome).map(({ held, ...f }) =>
    held === undefined ? f : { ...f, since: since.of(held as Held) },
  );
  return {
    sides: sides.map((s) => s.name),
    happenings: notes.happenings,
    runs: notes.runs,
    steps: outcome.steps,
    preemptions: outcome.preemptions,
    ending: outcome.kind,
    findings,
    trace: hash.hash,
    diverged: inner.diverged,
  };
}

/** Events that the ring of `cpu` got since it was last looked at. */
function eventsOf(cpu: number, seen: Map<number, number>): string[] {
  const ring = words[cpu + TRACE_RING] as number;
  if (ring === 0) return [];
  const count = peek(ring + COUNT);
  const out: string[] = [];
  for (let n = seen.get(cpu) ?? 0; n < count; n++) {
    const at = ring + LINE + (n & peek(ring + MASK)) * ENTRY_WORDS;
    const text = eventText(peek(at + 1), peek(at + 2), peek(at + 3));
    if (text !== '') out.push(text);
  }
  seen.set(cpu, count);
  return out;
}
