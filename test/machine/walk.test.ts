/** The walk: which rights are needed at which level, what the error code says, which flags it leaves behind. */
import { beforeEach, describe, expect, it } from 'vitest';
import { makeVa, mfnWord, type Mfn } from '../../src/abi/frames.js';
import { entryLo, PAGE_ACCESSED, PAGE_DIRTY, PAGE_NX_HI, PAGE_PSE } from '../../src/abi/pte.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { FRAMES } from '../../src/machine/layout.js';
import { ACCESS_EXEC, ACCESS_READ, ACCESS_WRITE, translate } from '../../src/machine/tlb.js';
import { words } from '../../src/ops/memory.js';
import { cpuAt } from '../../src/sync/actor.js';
import { run } from '../../src/sync/primitives.js';
import { FULL, P, runningOn, RW, Tables, US } from './tables.js';

const cpu = cpuAt(1);
const VA = makeVa(0x101, 0x1fe, 3, 0x1ff);
const LEVELS = [1, 2, 3, 4];
let tables: Tables;
let root: Mfn;
let data: Mfn;

beforeEach(() => {
  tables = new Tables();
  root = tables.frame();
  data = tables.frame();
  tables.map(root, VA, data);
  runningOn(cpu, root);
});

/** The page's word for an access, or `#` and the error code. */
function access(kind: number, user = false): number | string {
  words[vcpu.kernelMode(cpu)] = user ? 0 : 1;
  const w = run(function* () {
    return yield* translate(cpu, VA, kind);
  });
  return w >= 0 ? w - mfnWord(data) : `#${String(words[vcpu.errorCode(cpu)])}`;
}
const every = (user = false): (number | string)[] =>
  [ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC].map((a) => access(a, user));
const flags = (level: number): number => (words[tables.slot(root, VA, level)] as number) & (PAGE_ACCESSED | PAGE_DIRTY);

describe('a walk', () => {
  it('finds the word that holds the byte', () => {
    expect(every()).toEqual([0, 0, 0]);
    const w = run(function* () {
      return yield* translate(cpu, (VA + 0x123) as typeof VA, ACCESS_READ);
    });
    expect(w).toBe(mfnWord(data) + 0x48);
  });

  it.each(LEVELS)(
    'without present at level %i is refused: code 0, write 2, fetch 16, and 4 more for user mode',
    (level) => {
      tables.restrict(root, VA, level, P);
      expect(every()).toEqual(['#0', '#2', '#16']);
      expect(every(true)).toEqual(['#4', '#6', '#20']);
    },
  );

  it.each(LEVELS)('without write right at level %i reads and fetches, and refuses a write as protection', (level) => {
    tables.restrict(root, VA, level, RW);
    expect(every()).toEqual([0, '#3', 0]);
    expect(every(true)).toEqual([0, '#7', 0]);
  });

  it.each(LEVELS)(
    'without user right at level %i is refused in both modes: kernels of PV guests run at CPL 3',
    (level) => {
      tables.restrict(root, VA, level, US);
      expect(every()).toEqual(['#1', '#3', '#17']);
      expect(every(true)).toEqual(['#5', '#7', '#21']);
    },
  );

  it.each(LEVELS)('with no-execute at level %i refuses fetches only', (level) => {
    tables.restrict(root, VA, level, 0, PAGE_NX_HI);
    expect(every()).toEqual([0, 0, '#17']);
  });

  it.each(LEVELS)('with a frame beyond the machine at level %i follows nothing', (level) => {
    const slot = tables.slot(root, VA, level);
    words[slot] = entryLo(FRAMES as Mfn, FULL);
    expect(every()).toEqual(['#9', '#11', '#25']);
    words[slot] = entryLo(data, FULL);
    words[slot + 1] = 1;
    expect(every()).toEqual(['#9', '#11', '#25']);
  });

  it.each([2, 3, 4])('with a superpage bit at level %i follows nothing', (level) => {
    const slot = tables.slot(root, VA, level);
    words[slot] = (words[slot] as number) | PAGE_PSE;
    expect(every()).toEqual(['#9', '#11', '#25']);
  });

  it('without any base is refused', () => {
    words[vcpu.cr3(cpu)] = 0;
    expect(every()).toEqual(['#0', '#2', '#16']);
  });

  it('notes the address of the fault', () => {
    tables.restrict(root, VA, 1, P);
    access(ACCESS_WRITE);
    expect((words[vcpu.cr2Hi(cpu)] as number) * 2 ** 32 + ((words[vcpu.cr2Lo(cpu)] as number) >>> 0)).toBe(VA);
  });

  it('sets accessed at every level for a read, and dirty in the L1 for a write', () => {
    access(ACCESS_READ);
    expect(LEVELS.map(flags)).toEqual([PAGE_ACCESSED, PAGE_ACCESSED, PAGE_ACCESSED, PAGE_ACCESSED]);
    access(ACCESS_WRITE);
    expect(LEVELS.map(flags)).toEqual([PAGE_ACCESSED | PAGE_DIRTY, PAGE_ACCESSED, PAGE_ACCESSED, PAGE_ACCESSED]);
  });

  it('that is refused leaves the refusing entry as it was', () => {
    tables.restrict(root, VA, 1, RW);
    access(ACCESS_WRITE);
    expect(LEVELS.map(flags)).toEqual([0, PAGE_ACCESSED, PAGE_ACCESSED, PAGE_ACCESSED]);
  });

  it('keeps the high half of an entry whose flags it sets', () => {
    tables.restrict(root, VA, 1, 0, PAGE_NX_HI | 0x00500000);
    access(ACCESS_WRITE);
    expect(words[tables.slot(root, VA) + 1]).toBe(PAGE_NX_HI | 0x00500000);
  });
});
