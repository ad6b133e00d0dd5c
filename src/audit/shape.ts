/**
 * I3, I4: what the words of one frame must say of each other; page locks; the domains' totals.
 *
 * Source: reference xen-pv-memory.md, sections 1 and 6; [X1], [X10], [X12], [X14].
 */
import { domain } from '../hypervisor/domain.js';
import { vcpu } from '../machine/cpu-record.js';
import { NO_OWNER } from '../machine/frame.js';
import { peek } from '../sync/primitives.js';
import { isGuest, type Domain, type Stock } from './stock.js';
import { frameLabel, isTable, ownerLabel, refCount, typeCount, typeLabel, type Frame } from './view.js';
import { broken, type Violation } from './violation.js';

export type Finding = readonly [invariant: string, mfn: number, detail: string];

export function shapeOf(f: Frame, stock: Stock): Finding[] {
  if (f.free) return freeShape(f);
  const texts = [...ownership(f, stock), ...pinShape(f, stock)];
  const out: Finding[] = texts.map((text) => ['I3', f.mfn, `${frameLabel(f.mfn)} ${text}`]);
  const state = validation(f, stock);
  if (state !== '') out.push(['I4', f.mfn, `${frameLabel(f.mfn)} ${state}`]);
  return out;
}

function freeShape(f: Frame): Finding[] {
  const refs = refCount(f.mfn);
  if (refs === 0 && !f.allocated && f.owner === NO_OWNER) return [];
  const text = `${frameLabel(f.mfn)} is free with ${String(refs)} references, owner ${ownerLabel(f.owner)}`;
  return [['I3', f.mfn, text]];
}

/** A frame of Xen's heap keeps the type it is shared with when nobody refers to it any more. */
function ownership(f: Frame, stock: Stock): string[] {
  const out: string[] = [];
  const refs = refCount(f.mfn);
  const unowned = f.owner === NO_OWNER || (isGuest(f.owner) && !stock.byId.has(f.owner));
  if (refs > 0 && unowned) out.push(`has ${String(refs)} references and no owner`);
  if (f.allocated && refs < 1) out.push('is allocated with no reference');
  if (typeCount(f.mfn) > 0 && refs < 1 && !f.xenHeap) out.push(`is ${typeLabel(f.type)} with no reference`);
  return out;
}

/** Teardown takes the validity of a dying domain's tables before their last reference ([X64]). */
const isTornDown = (f: Frame, stock: Stock): boolean => stock.byId.get(f.owner)?.alive === false;

function pinShape(f: Frame, stock: Stock): string[] {
  if (!f.pinned || (f.validated && typeCount(f.mfn) > 0) || isTornDown(f, stock)) return [];
  return [`is pinned, but ${f.validated ? 'without a type reference' : 'not validated'}`];
}

/** Partial means one reference, not validated ([X14]); a table in use is one or the other, nobody being at work on it. */
function validation(f: Frame, stock: Stock): string {
  const count = typeCount(f.mfn);
  if (f.partial && f.validated) return 'is both partial and validated';
  if (f.partial && count !== 1) return `is partial with type count ${String(count)}`;
  if (!isTable(f) || count === 0 || f.partial || f.validated || isTornDown(f, stock)) return '';
  return `is claimed as ${typeLabel(f.type)} and was never validated`;
}

/** I4: a page lock is one vCPU's, which knows of it. */
export function checkLocks(stock: Stock): Violation[] {
  const holders = new Map<number, string[]>();
  for (const p of stock.processors) {
    const mfn = peek(vcpu.lockedPage(p.cpu)) - 1;
    if (mfn >= 0) holders.set(mfn, [...(holders.get(mfn) ?? []), p.label]);
  }
  const out: Violation[] = [];
  for (const f of stock.frames) {
    const who = holders.get(f.mfn) ?? [];
    if (who.length === (f.locked ? 1 : 0)) continue;
    const text = `${frameLabel(f.mfn)} is ${f.locked ? '' : 'not '}page-locked, held by ${String(who.length)}`;
    out.push(broken('I4', text, who));
  }
  return out;
}

/** I3: each domain's totals are the frames it owns; one of Xen's counts while it is referred to. */
export function checkTotals(stock: Stock): Violation[] {
  const pages = new Map<number, number>();
  const xenheap = new Map<number, number>();
  for (const f of stock.frames) {
    if (f.free || (f.xenHeap && refCount(f.mfn) === 0)) continue;
    const totals = f.xenHeap ? xenheap : pages;
    totals.set(f.owner, (totals.get(f.owner) ?? 0) + 1);
  }
  return stock.domains.flatMap((d) => [
    ...total(d, 'pages', peek(domain.totPages(d.d)), pages.get(d.domid) ?? 0),
    ...total(d, 'pages of xen', peek(domain.xenheapPages(d.d)), xenheap.get(d.domid) ?? 0),
  ]);
}

function total(d: Domain, what: string, says: number, has: number): Violation[] {
  if (says === has) return [];
  return [broken('I3', `${d.label} counts ${String(says)} ${what} and owns ${String(has)}`)];
}
