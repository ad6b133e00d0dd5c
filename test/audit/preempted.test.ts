/** Between the parts of preempted hypercalls everything is still accounted for: partial tables, unfinished teardowns, dying domains. */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { ERESTART } from '../../src/abi/errno.js';
import { DOMID_SELF, type Mfn } from '../../src/abi/frames.js';
import { auditMachine } from '../../src/audit/index.js';
import { destroyDomain } from '../../src/hypervisor/domctl.js';
import { hypercall } from '../../src/hypervisor/gate.js';
import { globals } from '../../src/hypervisor/globals.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { PGT_partial, typeInfo } from '../../src/machine/frame.js';
import { FRAMES } from '../../src/machine/layout.js';
import { actor, CONTROL, MODE_BLOCKED, MODE_OFF, REQ_PAUSE } from '../../src/sync/actor.js';
import { peek, poke, run } from '../../src/sync/primitives.js';
import { machine, single, type Dom } from '../hypervisor/machine.js';
import { Pool, prepare, program, type Step } from '../hypervisor/program.js';

const findings = (): string[] => auditMachine().map((v) => `${v.invariant} ${v.detail}: ${v.holders.join('; ')}`);

/** What the audit met between the parts. */
const met = { partial: 0, unfinished: 0, stops: 0 };
function look(cpu: Dom['cpu']): void {
  expect(findings()).toEqual([]);
  met.stops++;
  if (peek(vcpu.oldGuestTable(cpu)) !== 0) met.unfinished++;
  for (let m = 0; m < FRAMES; m++) {
    const mfn = m as Mfn;
    if (peek(typeInfo(mfn)) >>> 0 >= PGT_partial >>> 0) met.partial++;
  }
}

/** One step of a program, preempted at every check, looked at after each part. */
function perform(p: Pool, s: Step): void {
  const { dom } = p;
  const { op, args } = prepare(p, s, DOMID_SELF);
  dom.load(op, ...args);
  const { cpu } = dom;
  poke(actor.request(cpu), REQ_PAUSE);
  while (!run(() => hypercall(cpu))) look(cpu);
  poke(actor.request(cpu), 0);
  poke(actor.mode(cpu), MODE_BLOCKED);
}

/** Xen has forgotten a table of this vCPU's: a reference is nobody's from here on. */
const lost = (d: Dom): boolean => peek(vcpu.nLostTables(d.cpu)) !== 0;

describe('the audit finds nothing wrong', () => {
  test('between the parts of any hypercall of a random program', () => {
    fc.assert(
      fc.property(program(30), (steps) => {
        const pool = new Pool(single());
        for (const s of steps) {
          perform(pool, s);
          if (lost(pool.dom)) return;
          expect(findings()).toEqual([]);
        }
      }),
      { numRuns: 20, seed: 11 },
    );
    expect(met.stops).toBeGreaterThan(100);
    expect(met.partial).toBeGreaterThan(50);
    expect(met.unfinished).toBeGreaterThan(10);
  });

  test('between the parts of a destruction', () => {
    let rounds = 0;
    fc.assert(
      fc.property(program(30), fc.integer({ min: 1, max: 3 }), (steps, quantum) => {
        const [, d1] = machine({ quantum }, [{ domid: 1 }]) as [Dom, Dom];
        const pool = new Pool(d1);
        for (const s of steps) perform(pool, s);
        if (lost(d1)) return;
        poke(actor.mode(d1.cpu), MODE_OFF);
        for (let rc = -ERESTART; rc === -ERESTART; rounds++) {
          poke(vcpu.quantumLeft(CONTROL), peek(globals.quantum));
          rc = run(() => destroyDomain(CONTROL, d1.d));
          expect(findings()).toEqual([]);
        }
      }),
      { numRuns: 12, seed: 12 },
    );
    expect(rounds).toBeGreaterThan(50);
  });
});

test('a reference that Xen forgets when a validation fails twice over is found', () => {
  // f: an L4 whose entry 5 names an L3 whose entry 0 names an L2 whose entry 1 is no L1 (promote_l3_table, slot 0).
  const d0 = single();
  const [l4, l3, l2, l1] = d0.frames(4) as [Mfn, Mfn, Mfn, Mfn];
  d0.set(l2, 0, { lo: (l1 << 12) | 0x67, hi: 0 });
  d0.set(l2, 1, { lo: (l2 << 12) | 0x67, hi: 0 });
  d0.set(l3, 0, { lo: (l2 << 12) | 0x67, hi: 0 });
  d0.set(l4, 5, { lo: (l3 << 12) | 0x67, hi: 0 });
  expect(findings()).toEqual([]);
  expect(d0.pin(4, l4)).toBe(-22);
  const [finding] = auditMachine();
  expect(finding?.detail).toBe(`mfn 0x${l2.toString(16)} of d0: reference count 3, holders hold 2`);
  expect(finding?.holders).toEqual(['allocation of d0', 'partial validation']);
});
