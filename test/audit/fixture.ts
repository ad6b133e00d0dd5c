/**
 * A machine with something of everything in it, built by hypercalls in the notation of tapes: d0 with tables and a linear
 * link, d1 that grants two frames, d2 that maps them, one of them for a device too.
 *
 *   d0  f0 L1 {0: f2 rw, 1: f3 ro}, pinned     f1 L2 {0: f0}, pinned     f4 L2 {1: f1, linear}, pinned
 *   d1  ref 8 grants f5, ref 9 grants f6 read-only, both to d2
 *   d2  handle 0: f5 rw at page 100, handle 1: f6 ro at page 101 and for a device; f8 rw at page 102
 *
 * Pages 100 and 102 are in d2's TLB, in slots that its kernel does not use for itself.
 */
import { makeVa, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { auditMachine, type Violation } from '../../src/audit/index.js';
import { domain, findDomain, vcpuOf, type DomainRef } from '../../src/hypervisor/domain.js';
import type { GrantTable } from '../../src/hypervisor/grant/table.js';
import type { Cpu } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import type { Answer } from '../../src/lab/tape/compare.js';
import { execute } from '../../src/lab/tape/operations.js';
import type { Op, Tape } from '../../src/lab/tape/schema.js';
import { setUp } from '../../src/lab/tape/set-up.js';
import type { TapeMachine } from '../../src/lab/tape/tape-machine.js';

type Bare<O> = O extends Op ? Omit<O, 'expect'> : never;

const TAPE: Tape = {
  id: 'fixture',
  family: 'fixture',
  doms: 2,
  agents: true,
  frames: ['d0', 'd0', 'd0', 'd0', 'd0', 'd1', 'd1', 'd1', 'd2', 'd2', 'd2'],
  watch: 2,
  init: {},
  ops: [],
  outcome: 'ok',
};

const OPS: readonly Bare<Op>[] = [
  { op: 'poke', f: 'f0', i: 0, v: { f: 'f2', fl: '0x67' } },
  { op: 'poke', f: 'f0', i: 1, v: { f: 'f3', fl: '0x25' } },
  { op: 'poke', f: 'f1', i: 0, v: { f: 'f0', fl: '0x67' } },
  { op: 'poke', f: 'f4', i: 1, v: { f: 'f1', fl: '0x25' } },
  { op: 'mmuext', ops: [{ cmd: 'PIN_L1_TABLE', f: 'f0' }] },
  { op: 'mmuext', ops: [{ cmd: 'PIN_L2_TABLE', f: 'f1' }] },
  { op: 'mmuext', ops: [{ cmd: 'PIN_L2_TABLE', f: 'f4' }] },
  { op: 'gnt_write', dom: 'd1', ref: 0, flags: 1, gdom: 'd2', f: 'f5' },
  { op: 'gnt_write', dom: 'd1', ref: 1, flags: 5, gdom: 'd2', f: 'f6' },
  { op: 'gnt_map', by: 'd2', maps: [{ h: 0, dom: 'd1', ref: 0, flags: 2, va: 100 }] },
  { op: 'gnt_map', by: 'd2', maps: [{ h: 1, dom: 'd1', ref: 1, flags: 7, va: 101 }] },
  { op: 'update_va', by: 'd2', va: 102, v: { f: 'f8', fl: '0x67' } },
  { op: 'vwrite', by: 'd2', va: 100, v: '0x2' },
  { op: 'vwrite', by: 'd2', va: 102, v: '0x2' },
];

export class Fixture {
  readonly m: TapeMachine = setUp(TAPE);

  constructor() {
    for (const op of OPS) {
      const a = this.do(op);
      const statuses = [a.rc ?? 0, a.fault ?? 0, ...(a.r ?? []).map((r) => r.status)];
      if (statuses.some((s) => s !== 0)) throw new Error(`the fixture's ${op.op} answered ${JSON.stringify(a)}`);
    }
  }

  /** Performs one operation of a tape. */
  do(bare: Bare<Op>): Answer {
    const op = { ...bare, expect: {} } as Op;
    const by = op.op === 'gnt_write' ? op.dom : (op.by ?? 'd0');
    const guest = this.m.running(by);
    if (guest === undefined) throw new Error(`${by} does not run`);
    const { m } = this;
    return run(function* () {
      yield* guest.g.start();
      const answer = yield* execute(m, guest, op);
      yield* guest.g.park();
      return answer;
    });
  }

  mfn(name: string): Mfn {
    return this.m.symbols.mfn(name) as Mfn;
  }
  dom(domid: number): DomainRef {
    return run(() => findDomain(domid));
  }
  cpu(domid: number): Cpu {
    return vcpuOf(this.dom(domid), 0);
  }
  table(domid: number): GrantTable {
    return peek(domain.grantTable(this.dom(domid))) as GrantTable;
  }
  /** How findings write the frame. */
  at(name: string): string {
    return `mfn 0x${this.mfn(name).toString(16)}`;
  }
  /** The entry's first word; stores both when given. */
  entry(table: string, i: number, lo?: number): number {
    const a = mfnWord(this.mfn(table)) + 2 * i;
    if (lo !== undefined) poke(a, lo);
    return peek(a);
  }
}

/** VA of page `n` of the scratch area. */
export const pageVa = (n: number): Va => makeVa(320, 0, 0, n);
export const change = (a: number, f: (word: number) => number): void => {
  poke(a, f(peek(a)));
};

/** What the audit says, one line each: invariant and detail. */
export const findings = (): string[] => auditMachine().map((v) => `${v.invariant} ${v.detail}`);
/** The findings of one invariant. */
export const ofInvariant = (id: string): Violation[] => auditMachine([id]);
/** The one finding of an invariant. */
export function only(id: string): Violation {
  const all = ofInvariant(id);
  const first = all[0];
  if (first === undefined || all.length > 1)
    throw new Error(`${String(all.length)} findings of ${id}: ${JSON.stringify(all)}`);
  return first;
}
/** The invariants that the audit finds broken, in order. */
export const invariants = (): string[] => [...new Set(auditMachine().map((v) => v.invariant))].sort();
