/**
 * /dev/xen/gntdev: open, the map and unmap ioctls, mmap; and what the kernel calls for its files and VMAs.
 *
 * Invariant: a map is in its file's list from the map ioctl to the unmap ioctl or the file's release; a VMA holds the
 * map and the file. Closing the descriptor changes nothing while a VMA is there (item 14).
 * Lock: the file record's lock (rank guestDriver) guards the list.
 * Source: Linux drivers/xen/gntdev.c (gntdev_open, gntdev_ioctl_*, gntdev_mmap, gntdev_release).
 */
import { DESIGN_STEP } from '../../../src/abi/design-step.js';
import { EINVAL, ENOMEM } from '../../../src/abi/errno.js';
import { PAGE_SIZE, type Pfn, type Va } from '../../../src/abi/frames.js';
import { listAddTail, listFirst, listNext, listInit, LIST_WORDS } from '../../../src/shm/list.js';
import { record, type Ref } from '../../../src/shm/record.js';
import { slabFree } from '../../../src/shm/slab.js';
import { RANK } from '../../../src/sync/lock-order.js';
import { ld, peek, st } from '../../../src/sync/primitives.js';
import type { Steps } from '../../../src/sync/steps.js';
import { allocRecord } from '../../kernel/alloc.js';
import type { KernelCpu, Worker } from '../../kernel/context.js';
import { enterStep } from '../../kernel/design-step.js';
import { file, fileAlloc, fileGet, filePut, FILE_GNTDEV, type File, type FileOps } from '../../kernel/file.js';
import { klock, kunlock, writeLockMm, writeUnlockMm } from '../../kernel/lock.js';
import { mm, type Mm } from '../../kernel/mm.js';
import { munmap, placeVma } from '../../kernel/mmap.js';
import { subscribe, subscription, type Subscription } from '../../kernel/notifier.js';
import { kernel, KLOCK_WORDS } from '../../kernel/records.js';
import { FAULT_SIGBUS, type VmOps } from '../../kernel/vm-ops.js';
import { vma, vmaEnd, VM_OPS_GNTDEV, VM_READ, VM_WRITE, type Vma } from '../../kernel/vma.js';
import { peekVa, stVa } from '../../kernel/words.js';
import { findGrantPtes, mapGrantPages } from './install.js';
import { grantMap, mapAlloc, mapCount, mapGet, mapPut, unlistMap, type GrantMap } from './map.js';
import { retryKeptMap } from './quarantine.js';
import { unmapWorker } from './unmap.js';
import { MARK } from '../../../src/abi/marks.js';
import { mark } from '../../kernel/mark.js';
import { USER_END } from '../../kernel/layout.js';

const gntFile = record('gntFile', { lock: KLOCK_WORDS, maps: LIST_WORDS });
type GntFile = Ref<'gntFile'>;
/** Words of a driver file, for its slab. */
export const GNT_FILE_WORDS = gntFile.words;

/** open: a file with one reference; 0 when memory is short. */
export function* gntdevOpen(c: KernelCpu): Steps<File> {
  const g = (yield* allocRecord(c, kernel.gntFileSlab(c.k))) as GntFile;
  if (g === 0) return 0 as File;
  yield* listInit(gntFile.maps(g));
  const f = yield* fileAlloc(c, FILE_GNTDEV, g);
  if (f === 0) yield* slabFree(c.cpu, kernel.gntFileSlab(c.k), g);
  return f;
}

const ofFile = (f: File): GntFile => peek(file.private(f)) as GntFile;

/** The maps that the file lists; of a still machine. */
export function* mapsOfFile(f: File): Steps<GrantMap[]> {
  const out: GrantMap[] = [];
  const head = gntFile.maps(ofFile(f));
  for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) out.push(n as GrantMap);
  return out;
}

/** The map ioctl: a map of `count` grants, whose grants the caller then sets; 0 when memory is short. */
export function* gntdevNewMap(c: KernelCpu, f: File, count: number, readonly: boolean): Steps<GrantMap> {
  const g = ofFile(f);
  const map = yield* mapAlloc(c, count, readonly);
  if (map === 0) return map;
  yield* st(grantMap.file(map), g);
  yield* klock(c, gntFile.lock(g), RANK.guestDriver);
  yield* listAddTail(gntFile.maps(g), grantMap.node(map));
  yield* kunlock(c, gntFile.lock(g));
  return map;
}

/** The unmap ioctl: the file forgets the map; what is mapped stays mapped. */
export function* gntdevForget(c: KernelCpu, f: File, map: GrantMap): Steps<void> {
  const g = ofFile(f);
  yield* klock(c, gntFile.lock(g), RANK.guestDriver);
  yield* unlistMap(map);
  yield* kunlock(c, gntFile.lock(g));
  yield* mapPut(c, map);
}

/** mmap of `map` at `at`; 0, or -EINVAL (refused by Xen or by the design), -ENOMEM; then nothing stays mapped. */
export function* gntdevMmap(c: KernelCpu, m: Mm, f: File, map: GrantMap, at: Va): Steps<number> {
  yield* writeLockMm(c, mm.mmapLock(m), RANK.guestMmapLock);
  const readonly = peek(grantMap.readonly(map)) !== 0;
  const flags = VM_READ | (readonly ? 0 : VM_WRITE) | c.design.vmFlags;
  const placed = (yield* ld(grantMap.mm(map))) !== 0 ? -EINVAL : yield* placeVma(c, m, at, mapCount(map), flags);
  if (placed < 0) {
    yield* writeUnlockMm(c, mm.mmapLock(m));
    return placed;
  }
  const v = placed as Vma;
  yield* st(vma.ops(v), VM_OPS_GNTDEV);
  yield* st(vma.private(v), map);
  yield* st(vma.file(v), f);
  yield* fileGet(f);
  yield* mapGet(map);
  yield* st(grantMap.mm(map), m);
  yield* stVa(grantMap.start(map), at);
  const was = enterStep(c, DESIGN_STEP.map);
  const r = yield* attach(c, m, map, v, at);
  enterStep(c, was);
  yield* writeUnlockMm(c, mm.mmapLock(m));
  if (r < 0) yield* munmap(c, m, at, mapCount(map));
  return r;
}

function* attach(c: KernelCpu, m: Mm, map: GrantMap, v: Vma, at: Va): Steps<number> {
  if (c.design.usesNotifier) {
    const s = yield* subscribe(c, m, at, vmaEnd(v), VM_OPS_GNTDEV, map);
    if (s === 0) return -ENOMEM;
    yield* st(grantMap.subscription(map), s);
  }
  if (!(yield* findGrantPtes(c, m, map, v))) return -ENOMEM;
  if (!(yield* c.design.prepareMap(c, map, v))) return -ENOMEM;
  return yield* mapGrantPages(c, m, map, v);
}

const mapOf = (v: Vma): GrantMap => peek(vma.private(v)) as GrantMap;

/** For a trace point: first page and the one after the last, 16 bits each; -1 for a whole address space. */
function pagesOf(map: GrantMap, start: Va, end: Va): number {
  if (start === 0 && end > USER_END) return -1;
  const page = (va: Va): number => (va - peekVa(grantMap.start(map))) / PAGE_SIZE;
  return (page(start) << 16) | page(end);
}

export const gntdevVmOps: VmOps = Object.freeze({
  name: 'gntdev',
  special: true,
  *open(c: KernelCpu, v: Vma): Steps<void> {
    mark(c, MARK.gntdev_vma_open);
    yield* mapGet(mapOf(v));
    yield* fileGet(peek(vma.file(v)) as File);
    yield* c.design.vmaOpen(c, v, mapOf(v));
  },
  *close(c: KernelCpu, v: Vma): Steps<void> {
    mark(c, MARK.gntdev_vma_close);
    yield* c.design.vmaClose(c, v, mapOf(v));
    yield* mapPut(c, mapOf(v));
    yield* filePut(c, peek(vma.file(v)) as File);
  },
  *fault(): Steps<number> {
    return FAULT_SIGBUS;
  },
  *clearPte(c: KernelCpu, v: Vma, va: Va, table: Pfn, i: number, full: boolean): Steps<number> {
    return yield* c.design.clearPte(c, v, va, table, i, full);
  },
  *invalidate(c: KernelCpu, s: Subscription, start: Va, end: Va, event: number, blockable: boolean): Steps<boolean> {
    const map = peek(subscription.private(s)) as GrantMap;
    mark(c, MARK.gntdev_invalidate, event, pagesOf(map, start, end));
    return yield* c.design.invalidate(c, map, start, end, event, blockable);
  },
});

export const gntdevFileOps: FileOps = Object.freeze({
  name: 'gntdev',
  *release(c: KernelCpu, f: File): Steps<void> {
    mark(c, MARK.gntdev_release);
    const g = ofFile(f);
    for (;;) {
      yield* klock(c, gntFile.lock(g), RANK.guestDriver);
      const map = (yield* listFirst(gntFile.maps(g))) as GrantMap;
      if (map !== 0) yield* unlistMap(map);
      yield* kunlock(c, gntFile.lock(g));
      if (map === 0) break;
      yield* mapPut(c, map);
    }
    yield* slabFree(c.cpu, kernel.gntFileSlab(c.k), g);
  },
});

/** Tries what Xen would not let go. */
export const keptWorker: Worker = Object.freeze({
  name: 'gntdev-kept',
  *work(c: KernelCpu, map: number): Steps<void> {
    yield* retryKeptMap(c, map as GrantMap);
  },
});

export const gntdevWorker: Worker = Object.freeze({
  name: 'gntdev-unmap',
  *work(c: KernelCpu, map: number): Steps<void> {
    yield* unmapWorker(c, map as GrantMap);
  },
});
