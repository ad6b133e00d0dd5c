/** The TLB keeps what it was told until a flush, whatever the tables say meanwhile. */
import { beforeEach, describe, expect, it } from 'vitest';
import { makeVa, mfnWord, type Mfn, type Va } from '../../src/abi/frames.js';
import { entryLo, PAGE_DIRTY, PAGE_GLOBAL } from '../../src/abi/pte.js';
import { toggleGuestMode, writePtbase } from '../../src/machine/base.js';
import { FLUSH_CLOCK, needFlush } from '../../src/machine/clock.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { TLB_SLOTS } from '../../src/machine/layout.js';
import {
  ACCESS_EXEC,
  ACCESS_READ,
  ACCESS_WRITE,
  invlpgLocal,
  tlbEntries,
  tlbFlushLocal,
  translate,
} from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt, type Cpu } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { FULL, P, runningOn, RW, Tables, US } from './tables.js';

const cpu = cpuAt(1);
const VA = makeVa(511, 510, 3, 4);
let tables: Tables;
let root: Mfn;
let one: Mfn;
let two: Mfn;
let slot: number;

beforeEach(() => {
  words[FLUSH_CLOCK] = 100;
  tables = new Tables();
  root = tables.frame();
  one = tables.frame();
  two = tables.frame();
  slot = tables.map(root, VA, one);
  runningOn(cpu, root);
});

/** The frame that an access reaches, or `#` and the error code. */
function reach(access: number, va: Va = VA, who: Cpu = cpu): number | string {
  const w = run(function* () {
    return yield* translate(who, va, access);
  });
  return w >= 0 ? w >>> 10 : `#${String(words[vcpu.errorCode(who)])}`;
}
const perform = (f: (cpu: Cpu) => Steps<void>): void => {
  run(function* () {
    yield* f(cpu);
  });
};
const set = (mfn: Mfn, flags = FULL): void => {
  words[slot] = flags === 0 ? 0 : entryLo(mfn, flags);
};

describe('a translation', () => {
  it('stays when its entry is cleared, until a flush', () => {
    expect(reach(ACCESS_WRITE)).toBe(one);
    set(one, 0);
    expect([reach(ACCESS_READ), reach(ACCESS_WRITE), reach(ACCESS_EXEC)]).toEqual([one, one, one]);
    perform(tlbFlushLocal);
    expect(reach(ACCESS_READ)).toBe('#0');
  });

  it('stays writable when its entry loses the write right, until invlpg', () => {
    expect(reach(ACCESS_WRITE)).toBe(one);
    set(one, P | US);
    expect(reach(ACCESS_WRITE)).toBe(one);
    invlpgLocal(cpu, VA);
    expect([reach(ACCESS_READ), reach(ACCESS_WRITE)]).toEqual([one, '#3']);
  });

  it('keeps naming the old frame for reads; a first write walks again and finds the new one', () => {
    expect(reach(ACCESS_READ)).toBe(one);
    set(two);
    expect(reach(ACCESS_READ)).toBe(one);
    expect(reach(ACCESS_WRITE)).toBe(two);
    expect(reach(ACCESS_READ)).toBe(two);
  });

  it('made by a read does not hide the dirty bit: the first write sets it', () => {
    reach(ACCESS_READ);
    expect((words[slot] as number) & PAGE_DIRTY).toBe(0);
    reach(ACCESS_WRITE);
    expect((words[slot] as number) & PAGE_DIRTY).toBe(PAGE_DIRTY);
  });

  it('made by a read of a dirty page serves writes at once', () => {
    set(one, FULL | PAGE_DIRTY);
    reach(ACCESS_READ);
    set(one, 0);
    expect(reach(ACCESS_WRITE)).toBe(one);
  });

  it('that was refused before is found as soon as the entry allows it: refusals are not kept', () => {
    set(one, P | US);
    expect(reach(ACCESS_WRITE)).toBe('#3');
    set(one, P | US | RW);
    expect(reach(ACCESS_WRITE)).toBe(one);
  });

  it('is private to its vCPU', () => {
    const other = cpuAt(2);
    runningOn(other, root);
    reach(ACCESS_READ);
    set(one, 0);
    expect(reach(ACCESS_READ, VA, other)).toBe('#0');
    expect(reach(ACCESS_READ)).toBe(one);
  });

  it('gives way only to another address of the same slot', () => {
    const near = (VA + 4096 * (TLB_SLOTS - 1)) as Va;
    const same = (VA + 4096 * TLB_SLOTS) as Va;
    tables.map(root, near, two);
    tables.map(root, same, two);
    reach(ACCESS_READ);
    set(one, 0);
    reach(ACCESS_READ, near);
    expect(reach(ACCESS_READ)).toBe(one);
    reach(ACCESS_READ, same);
    expect(reach(ACCESS_READ)).toBe('#0');
  });

  it('is told from one whose address differs in the upper bits only', () => {
    const far = makeVa(1, 510, 3, 4);
    reach(ACCESS_READ);
    expect(reach(ACCESS_READ, far)).toBe('#0');
  });
});

describe('a mode switch', () => {
  it('drops entries that are not global and keeps global ones', () => {
    const user = tables.frame();
    const page = makeVa(1, 2, 3, 4);
    const global = tables.map(user, page, two, FULL | PAGE_GLOBAL);
    tables.map(root, page, two, FULL | PAGE_GLOBAL);
    runningOn(cpu, root, user);
    expect([reach(ACCESS_READ), reach(ACCESS_READ, page)]).toEqual([one, two]);
    const clock = words[FLUSH_CLOCK];
    perform(toggleGuestMode);
    words[global] = 0;
    expect([words[vcpu.kernelMode(cpu)], words[vcpu.cr3(cpu)]]).toEqual([0, user + 1]);
    expect([reach(ACCESS_READ), reach(ACCESS_READ, page)]).toEqual(['#4', two]);
    expect(words[FLUSH_CLOCK]).toBe(clock);
    perform(toggleGuestMode);
    set(one, 0);
    expect(reach(ACCESS_READ)).toBe('#0');
  });

  it('many of them run the keys out without reviving anything', () => {
    reach(ACCESS_READ);
    set(one, 0);
    for (let i = 0; i < 70_000; i++) {
      run(function* () {
        yield* toggleGuestMode(cpu);
      });
      if ((i & 1) === 1 && i % 1000 === 1) expect(reach(ACCESS_READ)).toBe('#0');
    }
    expect(tlbEntries(cpu)).toEqual([]);
  });
});

describe('a flush', () => {
  it('by a new base drops global entries too, and ticks the clock', () => {
    set(one, FULL | PAGE_GLOBAL);
    reach(ACCESS_READ);
    set(one, 0);
    words[vcpu.flushTime(cpu)] = 3;
    perform(writePtbase);
    expect(reach(ACCESS_READ)).toBe('#0');
    expect([words[FLUSH_CLOCK], words[vcpu.flushTime(cpu)]]).toEqual([101, 101]);
  });

  it('is needed by CPUs whose last one is not newer than the last use', () => {
    expect(needFlush(5, 5, 9)).toBe(true);
    expect(needFlush(6, 5, 9)).toBe(false);
    expect(needFlush(0xfffffff0 | 0, 5, 9)).toBe(false);
    // A last use later than now was before a wrap, which flushed everybody.
    expect(needFlush(2, 0x80000000 | 0, 9)).toBe(false);
    expect(needFlush(6, 5, 0)).toBe(true);
  });
});

describe('the auditor sees', () => {
  it('each live translation with its address, frame, base and rights, and no dead one', () => {
    const low = makeVa(0, 0, 0, 5);
    tables.map(root, low, two, P | US | PAGE_GLOBAL);
    reach(ACCESS_WRITE);
    reach(ACCESS_READ, low);
    expect(tlbEntries(cpu).sort((a, b) => a.va - b.va)).toEqual([
      { va: low, mfn: two, writable: false, global: true, root, ownerWord: 0 },
      { va: VA, mfn: one, writable: true, global: false, root, ownerWord: 0 },
    ]);
    perform(tlbFlushLocal);
    expect(tlbEntries(cpu)).toEqual([]);
    expect(words[mfnWord(one)]).toBe(0);
  });
});
