/**
 * I2, I12, I13 of TLBs: what vCPUs that live may still reach by translations they hold.
 *
 * A TLB with a flush request pending counts as empty: the request is served before the next access ([X13]). A stale
 * translation is no fault by itself: a guest may leave one to a frame of its own, to another's as long as the granter sees
 * the grant in use, and to a freed frame as long as the stamp makes its next user flush.
 * Source: reference xen-pv-memory.md, section 6; DESIGN decision 5; [X54], [X62].
 */
import { FLUSH_CLOCK, needFlush } from '../machine/clock.js';
import { vcpu } from '../machine/cpu-record.js';
import { ownerWord, stampWord } from '../machine/frame.js';
import { tlbEntries, type TlbEntry } from '../machine/tlb.js';
import { actor, REQ_FLUSH } from '../sync/actor.js';
import { peek } from '../sync/primitives.js';
import { mapsFrame } from './mappings.js';
import { isGuest, mapsByRight, type Domain, type Processor, type Stock } from './stock.js';
import { frameLabel, frameOf, ownerLabel, TYPE_SEG_DESC, typeLabel, type Frame } from './view.js';
import { broken, type Violation } from './violation.js';

export function checkTranslations(stock: Stock): Violation[] {
  return stock.processors.flatMap((p) => {
    const pending = (peek(actor.request(p.cpu)) & REQ_FLUSH) !== 0;
    if (!p.lives || p.domain === undefined || pending) return [];
    const { domain } = p;
    return tlbEntries(p.cpu).flatMap((t) => checkEntry(stock, p, domain, t));
  });
}

function checkEntry(stock: Stock, p: Processor, d: Domain, t: TlbEntry): Violation[] {
  const f = frameOf(t.mfn);
  const at = `${p.label} TLB va 0x${t.va.toString(16)} -> ${frameLabel(t.mfn)}`;
  const moved = t.ownerWord !== peek(ownerWord(t.mfn)) ? changedHands(p, f) : '';
  if (moved !== '') return [broken('I13', `${at}: the frame is ${moved}`, [at])];
  if (t.writable && isProtected(f)) return [broken('I2', `${at} is writable, the frame is ${typeLabel(f.type)}`, [at])];
  const seen = sawIdle(stock, d, t, f);
  return seen === '' ? [] : [broken('I12', `${at}: ${seen}`, [at])];
}

/** What became of a frame since the translation was made; '' while it is free and its next user will wait for a flush. */
function changedHands(p: Processor, f: Frame): string {
  if (!f.free) return `another one since, of ${ownerLabel(f.owner)}`;
  const owed = needFlush(peek(vcpu.flushTime(p.cpu)), peek(stampWord(f.mfn)), peek(FLUSH_CLOCK));
  return owed ? '' : 'free, and no flush is owed before its reuse';
}

/** No guest may write to it: a table that counts as one, or a descriptor page. */
const isProtected = (f: Frame): boolean => f.validated && f.type >= 1 && f.type <= TYPE_SEG_DESC;

/**
 * What the owner of a foreign frame sees although the translation lives; '' when all is well. A domain that maps by right
 * is believed as long as a page-table entry says so, or no grant of the frame ever was its.
 */
function sawIdle(stock: Stock, d: Domain, t: TlbEntry, f: Frame): string {
  const owner = isGuest(f.owner) && f.owner !== d.domid ? stock.byId.get(f.owner) : undefined;
  if (owner === undefined || !owner.alive) return '';
  const grants = (stock.grants.get(owner.domid) ?? []).filter((g) => g.mapper === d.domid && g.mfn === t.mfn);
  if (grants.some((g) => g.reading && (g.writing || !t.writable))) return '';
  if (mapsByRight(d, owner.domid) && (grants.length === 0 || mapsFrame(stock, d.domid, t.mfn, t.writable))) return '';
  return `${owner.label} sees no ${t.writable ? 'writer' : 'reader'} of the frame`;
}
