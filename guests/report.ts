/**
 * What a guest tells the auditor: the handles its drivers still know, and what its kernel and its design find wrong.
 *
 * Invariant: reads only; no vCPU runs. Lock: none. Source: DESIGN decision 8.
 */
import type { GuestHandle, GuestReport, GuestStock } from '../src/abi/guest.js';
import { INVALID_MFN, mfnWord, type Mfn, type Pfn } from '../src/abi/frames.js';
import { entryMfn, PAGE_PRESENT } from '../src/abi/pte.js';
import { listFirst, listNext } from '../src/shm/list.js';
import { peek, run } from '../src/sync/primitives.js';
import type { TeardownDesign } from './designs/design.js';
import { mapsOfFile } from './drivers/gntdev/device.js';
import {
  entryOf,
  GE_KERNEL,
  GE_PTE_HI,
  GE_PTE_LO,
  GE_USER,
  grantMap,
  mapCount,
  NO_HANDLE,
  pfnOfEntry,
  type GrantMap,
} from './drivers/gntdev/map.js';
import { KEPT_TRIES } from './drivers/gntdev/quarantine.js';
import { WORKER_UNMAP } from './drivers/gntdev/unmap.js';
import { checkKernel, livingMms } from './kernel/check.js';
import { file, FILE_GNTDEV, type File } from './kernel/file.js';
import type { Mm } from './kernel/mm.js';
import { page, pageOf, PG_free, PG_granted, PG_quarantined } from './kernel/page.js';
import { P2M_FOREIGN, P2M_INVALID, p2mEntry } from './kernel/p2m.js';
import { kernel, type Kernel } from './kernel/records.js';
import { directEntry } from './kernel/still.js';
import { task, TASK_FILES, taskOfNode } from './kernel/task.js';
import { firstVma, nextVma, vma, VM_OPS_GNTDEV } from './kernel/vma.js';
import { work, type Work } from './kernel/work.js';

export function reportOf(k: Kernel, design: TeardownDesign): GuestReport {
  return {
    domid: peek(kernel.domid(k)),
    handles: [
      ...livingMms(k).flatMap(mapsOfMm).flatMap((h) => handlesOf(k, h).map((x) => ({ ...x, inUse: true }))), // prettier-ignore
      ...[...waitingMaps(k), ...keptMaps(k)].flatMap((h) => handlesOf(k, h)),
    ],
    frames: [],
    violations: [...checkKernel(k, mappedPages(k), awaitedTables(k)), ...design.check(k)],
    stock: stockOf(k),
  };
}

function stockOf(k: Kernel): GuestStock {
  const kept = keptMaps(k);
  const again = kept.some(([map, , willRelease]) => willRelease || heldBy(k, map).every(([, stands]) => stands));
  let quarantined = kept.reduce((n, [map]) => n + mapCount(map), 0);
  let granted = 0;
  let framed = 0;
  for (let n = 1; n < peek(kernel.maxPfn(k)); n++) {
    const entry = p2mEntry(k, n as Pfn);
    if (entry !== P2M_INVALID && (entry & P2M_FOREIGN) === 0) framed++;
    const flags = peek(page.flags(pageOf(k, n as Pfn)));
    if ((flags & PG_free) !== 0) continue;
    if ((flags & PG_quarantined) !== 0) quarantined++;
    else if ((flags & PG_granted) !== 0) granted++;
  }
  return {
    free: peek(kernel.nrFree(k)) + peek(kernel.nrBallooned(k)),
    quarantined,
    awaited: again ? quarantined : 0,
    granted,
    framed,
  };
}

/** A map, who has it, and whether that one will let its handles go. */
type Held = readonly [GrantMap, string, boolean];

/** Maps behind the VMAs of `m`. */
function mapsOfMm(m: Mm): Held[] {
  return run(function* () {
    const out = new Map<GrantMap, string>();
    for (let v = yield* firstVma(m); v !== 0; v = yield* nextVma(v)) {
      if (peek(vma.ops(v)) === VM_OPS_GNTDEV) out.set(peek(vma.private(v)) as GrantMap, 'gntdev, mapped by a process');
    }
    return [...out].map(([map, who]) => [map, who, true] as const);
  });
}

/** Maps whose unmap was put off. */
function waitingMaps(k: Kernel): Held[] {
  return run(function* () {
    const out: Held[] = [];
    const head = kernel.work(k);
    for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
      if (peek(work.worker(n as Work)) !== WORKER_UNMAP) continue;
      out.push([peek(work.argument(n as Work)) as GrantMap, 'gntdev, waiting to unmap it later', true]);
    }
    return out;
  });
}

const KEPT_NODE = grantMap.keptNode(0 as GrantMap);

/** Maps of which Xen would not let something go. */
function listedKept(k: Kernel): GrantMap[] {
  return run(function* () {
    const out: GrantMap[] = [];
    const head = kernel.kept(k);
    for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) out.push((n - KEPT_NODE) as GrantMap);
    return out;
  });
}

/** Those that nobody refers to any more. */
function keptMaps(k: Kernel): Held[] {
  return listedKept(k)
    .filter((map) => peek(grantMap.refs(map)) === 0)
    .map((map) => {
      const again = peek(grantMap.workAge(map)) < KEPT_TRIES;
      return [map, again ? 'gntdev, to be tried again' : 'gntdev, given up after many tries', again];
    });
}

/** Maps that some file still lists, whether a process has them mapped or not. */
function mapsOfFiles(k: Kernel): GrantMap[] {
  return run(function* () {
    const out: GrantMap[] = [];
    const head = kernel.tasks(k);
    for (let n = yield* listFirst(head); n !== 0; n = yield* listNext(head, n)) {
      const files = task.files(taskOfNode(n));
      for (let fd = 0; fd < TASK_FILES; fd++) {
        const f = peek(files + fd) as File;
        if (f !== 0 && peek(file.ops(f)) === FILE_GNTDEV) out.push(...(yield* mapsOfFile(f)));
      }
    }
    return out;
  });
}

/** Pages at which the kernel's mapping of a grant stands as far as a driver knows: their handles are still known. */
function mappedPages(k: Kernel): Set<number> {
  const held = [...livingMms(k).flatMap(mapsOfMm), ...waitingMaps(k)].map(([map]) => map);
  return new Set(
    [...held, ...listedKept(k), ...mapsOfFiles(k)]
      .flatMap((map) => Array.from({ length: mapCount(map) }, (_, i) => entryOf(map, i)))
      .filter((e) => peek(e + GE_KERNEL) !== NO_HANDLE)
      .map(pfnOfEntry),
  );
}

/** Frames of tables in which an entry of a kept map stands. */
function awaitedTables(k: Kernel): Set<number> {
  return new Set(
    keptMaps(k)
      .flatMap(([map]) => Array.from({ length: mapCount(map) }, (_, i) => entryOf(map, i)))
      .filter((e) => peek(e + GE_USER) !== NO_HANDLE && userStands(k, e))
      .map((e) => userTable(k, e)),
  );
}

/** What the map knows to be mapped, and whether the entry is where it was put. */
function heldBy(k: Kernel, map: GrantMap): [number, boolean][] {
  return Array.from({ length: mapCount(map) }, (_, i) => entryOf(map, i)).flatMap((e) =>
    [
      [peek(e + GE_USER), userStands(k, e)] as [number, boolean],
      [peek(e + GE_KERNEL), directEntry(k, pfnOfEntry(e))[0] !== 0] as [number, boolean],
    ].filter(([handle]) => handle !== NO_HANDLE),
  );
}

/** The table of the user entry. */
const userTable = (k: Kernel, e: number): Mfn =>
  entryMfn(peek(e + GE_PTE_LO), peek(e + GE_PTE_HI), peek(kernel.frames(k)));

/** Whether something is mapped at the machine address of the user entry. */
function userStands(k: Kernel, e: number): boolean {
  const table = userTable(k, e);
  return table !== INVALID_MFN && (peek(mfnWord(table) + ((peek(e + GE_PTE_LO) & 0xfff) >>> 2)) & PAGE_PRESENT) !== 0;
}

function handlesOf(k: Kernel, [map, who, willRelease]: Held): GuestHandle[] {
  return heldBy(k, map).map(([handle, stands]) => ({
    handle: handle >>> 0,
    who,
    willRelease,
    mayRelease: !willRelease && stands,
  }));
}
