/** Each thing that a check after a step can say of a frame, an entry or a continuation, alone. */
import { beforeEach, describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { mfnWord, type Mfn } from '../../src/abi/frames.js';
import * as gnt from '../../src/abi/grant.js';
import { HYPERVISOR_grant_table_op, HYPERVISOR_memory_op, HYPERVISOR_mmuext_op } from '../../src/abi/hypercall.js';
import { entryLo } from '../../src/abi/pte.js';
import { makeStepChecks, recountStep, type Finding, type StepChecks } from '../../src/audit/step.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import * as f from '../../src/machine/frame.js';
import { actor, cpuIndex } from '../../src/sync/actor.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { POINT_ATOMIC, POINT_ONCE, POINT_READ, POINT_WRITE } from '../../src/sync/schedule.js';
import { on } from '../hypervisor/grant/lab.js';
import { entryWord } from '../hypervisor/grant/tables.js';
import { build, REF, type Cast } from './step-program.js';

const RMW = POINT_READ | POINT_WRITE | POINT_ATOMIC;
let cast: Cast;
let checks: StepChecks;
let mfn: Mfn;
beforeEach(() => {
  cast = build();
  mfn = cast.mapper.frames[0]!;
  checks = makeStepChecks();
});

/** The frame's words become these; what the check says, which a recount says too. */
function becomes(count: number, type: number): string | undefined {
  poke(f.countInfo(mfn), count);
  poke(f.typeInfo(mfn), type);
  const found = checks.step(0, f.countInfo(mfn), RMW, 2);
  expect(recountStep()).toEqual(found);
  return found && `${found.rule} ${found.detail.replace(/^mfn 0x[0-9a-f]+ /, '')}`;
}
const L1 = f.PGT_l1_page_table;
const L2 = f.PGT_l2_page_table;
const OWNED = f.PGC_allocated | 1;

describe('a frame', () => {
  it('that is free has no reference, no allocation and no owner', () => {
    expect(becomes(f.PGC_state_free | 1, 0)).toMatch(/^I3 is free with 1 references, owner d2/);
    expect(becomes(f.PGC_state_free, 0)).toMatch(/^I3 is free with 0 references, owner d2/);
    poke(f.ownerWord(mfn), f.withOwner(peek(f.ownerWord(mfn)), f.NO_OWNER));
    expect(becomes(f.PGC_state_free | f.PGC_allocated, 0)).toMatch(/^I3 is free with 0 references, owner nobody/);
    expect(becomes(f.PGC_state_free, 0)).toBe(undefined);
  });

  it('that is referred to has an owner; allocated or typed it has a reference', () => {
    expect(becomes(f.PGC_allocated, 0)).toBe('I3 is allocated with no reference');
    expect(becomes(0, f.PGT_writable_page | f.PGT_validated | 1)).toBe('I3 is writable with no reference');
    expect(becomes(f.PGC_xen_heap, f.PGT_writable_page | f.PGT_validated | 1)).toBe(undefined);
    poke(f.ownerWord(mfn), f.withOwner(peek(f.ownerWord(mfn)), f.NO_OWNER));
    expect(becomes(OWNED, 0)).toBe('I3 has 1 references and no owner');
  });

  it('that is pinned is validated and typed', () => {
    expect(becomes(OWNED + 1, L1 | f.PGT_pinned | f.PGT_validated | 1)).toBe(undefined);
    expect(becomes(OWNED + 1, L1 | f.PGT_pinned | f.PGT_validated)).toBe('I3 is pinned, but without a type reference');
    expect(becomes(OWNED + 1, L1 | f.PGT_pinned | 1)).toBe('I3 is pinned, but not validated');
  });

  it('that is partial is not validated and has one type reference', () => {
    expect(becomes(OWNED + 1, L2 | f.PGT_partial | 1)).toBe(undefined);
    expect(becomes(OWNED + 1, L2 | f.PGT_partial | f.PGT_validated | 1)).toBe('I4 is both partial and validated');
    expect(becomes(OWNED + 1, L2 | f.PGT_partial | 2)).toBe('I4 is partial with type count 2');
    expect(becomes(OWNED + 1, L2 | f.PGT_partial)).toBe('I4 is partial with type count 0');
  });

  it('that is page-locked is validated, and held by more than the lock', () => {
    expect(becomes(OWNED | f.PGT_locked, L1 | f.PGT_validated | 2)).toBe(undefined);
    expect(becomes(OWNED | f.PGT_locked, L1 | f.PGT_validated | 1)).toMatch(/^page-lock .*own reference is the last$/);
    expect(becomes(OWNED | f.PGT_locked, L1 | 2)).toBe('page-lock is page-locked and not validated');
  });
});

describe('an entry in force', () => {
  const slot = (): number => mfnWord(cast.mapper.l1) + 2 * 5;
  function stored(lo: number): Finding | undefined {
    poke(slot(), lo);
    const found = checks.step(0, slot(), POINT_WRITE, 2);
    expect(recountStep()).toEqual(found);
    return found;
  }

  it('names a frame that is referred to, as what the frame is', () => {
    expect(stored(entryLo(cast.mapper.l1, 0x65))).toBe(undefined);
    expect(stored(entryLo(cast.mapper.l1, 0x67))).toMatchObject({ rule: 'I1' });
    expect(stored(0)).toBe(undefined);
    poke(f.ownerWord(mfn), f.withOwner(peek(f.ownerWord(mfn)), f.NO_OWNER));
    poke(f.countInfo(mfn), f.PGC_state_free);
    expect(stored(entryLo(mfn, 0x65))).toMatchObject({ rule: 'I13' });
  });

  it('names a frame of another only while the owner sees a grant of it in use, written to if writable', () => {
    const theirs = cast.granter.frames[0]!;
    expect(stored(entryLo(theirs, 0x65))).toMatchObject({ rule: 'I12' });
    expect(stored(0)).toBe(undefined);
    const c = cast.mapper.cpus[0]!;
    const readonly = gnt.GNTMAP_host_map | gnt.GNTMAP_readonly;
    on(c, () => c.map({ dom: 1, ref: REF, flags: readonly, slot: 4 }));
    checks = makeStepChecks();
    expect(stored(entryLo(theirs, 0x65))).toBe(undefined);
    expect(stored(entryLo(theirs, 0x67))).toMatchObject({ rule: 'I12' });
  });

  it('is looked at again when the owner’s view of the grant changes', () => {
    const c = cast.mapper.cpus[0]!;
    on(c, () => c.map({ dom: 1, ref: REF, flags: gnt.GNTMAP_host_map, slot: 4 }));
    checks = makeStepChecks();
    const header = entryWord(cast.granter.gt, REF);
    const was = peek(header);
    poke(header, was & ~gnt.GTF_writing);
    expect(checks.step(0, header, RMW, 1)).toMatchObject({ rule: 'I12' });
    poke(header, was);
    expect(checks.step(0, header, RMW, 1)).toBe(undefined);
    poke(header, was & ~(gnt.GTF_writing | gnt.GTF_reading));
    expect(checks.step(0, header, RMW, 1)).toMatchObject({ rule: 'I12' });
  });
});

describe('a continuation', () => {
  it('of any call leaves no more to do than there was (I19)', () => {
    const { cpu } = cast.mapper.cpus[0]!.g;
    const part = (): Finding | undefined => {
      poke(vcpu.nContinuations(cpu), peek(vcpu.nContinuations(cpu)) + 1);
      return checks.step(cpuIndex(cpu), actor.request(cpu), POINT_READ | POINT_ONCE, 1);
    };
    // Where each call keeps it: requests left, operations left, extents done.
    const calls: [number, number, number, number][] = [
      [HYPERVISOR_mmuext_op, 1, 4, 5],
      [HYPERVISOR_grant_table_op, 2, 4, 5],
      [HYPERVISOR_memory_op, 0, 5 << 6, 4 << 6],
    ];
    for (const [nr, arg, before, worse] of calls) {
      poke(vcpu.nHypercalls(cpu), peek(vcpu.nHypercalls(cpu)) + 1);
      poke(actor.doing(cpu), nr + 1);
      poke(vcpu.argLo(cpu, arg), before);
      expect([nr, part(), part()]).toEqual([nr, undefined, undefined]);
      poke(vcpu.argLo(cpu, arg), worse);
      expect([nr, part()?.rule]).toEqual([nr, 'I19']);
    }
  });
});
