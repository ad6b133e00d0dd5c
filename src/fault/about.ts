/**
 * What each injection site can return, for people and for whoever reads a plan.
 *
 * Invariant: the first answer of a site is what a plan injects that names none. An answer of kind `errno` is -E…, of kind
 * `status` a GNTST_*, of kind `count` a number from 1 on (the default beside it), of kind `happens` nothing to choose.
 * Source: statuses as recorded; xen/common/grant_table.c, arch/x86/mm.c.
 */
import * as errno from '../abi/errno.js';
import * as grant from '../abi/grant.js';
import type { SiteName } from './sites.js';

export type AnswerKind = 'status' | 'errno' | 'count' | 'happens';

export interface SiteAbout {
  readonly kind: AnswerKind;
  /** Names of the answers, or for `count` the default number. */
  readonly answers: readonly string[];
  readonly about: string;
}

const status = (about: string, ...answers: string[]): SiteAbout => ({ kind: 'status', answers, about });
const errnos = (about: string, ...answers: string[]): SiteAbout => ({ kind: 'errno', answers, about });
const count = (about: string, n: number): SiteAbout => ({ kind: 'count', answers: [String(n)], about });
const happens = (about: string): SiteAbout => ({ kind: 'happens', answers: [], about });

export const ABOUT: Readonly<Record<SiteName, SiteAbout>> = Object.freeze({
  'gnttab.map': status(
    'one element of a grant map, before anything was claimed',
    'general_error',
    'bad_page',
    'bad_gntref',
    'bad_domain',
    'no_space',
    'eagain',
  ),
  'gnttab.map.install': status(
    'the page-table entry of a grant map, after the claim: all of it is given back',
    'general_error',
  ),
  'gnttab.unmap': status('one element of a grant unmap', 'general_error', 'bad_handle', 'bad_dev_addr', 'eagain'),
  'gnttab.unmap_and_replace': status('one element of an unmap_and_replace', 'general_error', 'bad_handle', 'eagain'),
  'gnttab.copy': status(
    'one element of a grant copy',
    'general_error',
    'bad_page',
    'bad_gntref',
    'bad_domain',
    'permission_denied',
    'eagain',
  ),
  'gnttab.transfer': status("one element of a grant transfer, the frame still the giver's", 'bad_page'),
  mmu_update: errnos('one request of an mmu_update', 'EINVAL', 'EBUSY', 'EPERM'),
  'mmuext.pin': errnos('one pin of an mmuext_op', 'EINVAL', 'EBUSY'),
  'mmuext.unpin': errnos('one unpin of an mmuext_op', 'EINVAL'),
  update_va_mapping: errnos('one update_va_mapping, either form', 'EINVAL', 'EBUSY', 'EPERM'),
  memory_op: happens('one extent of a memory_op: the call answers how many came before'),
  'page.alloc': errnos("one frame out of the hypervisor's heap, for a guest or for itself", 'ENOMEM'),
  'guest.page.alloc': errnos("one page out of a guest kernel's allocator", 'ENOMEM'),
  'guest.record.alloc': errnos("one record out of a guest kernel's slabs", 'ENOMEM'),
  'flush.late': count('a requested flush overlooked for as many guest accesses', 8),
  'event.lost': happens('an event sent and never delivered'),
  'event.duplicated': happens("an event delivered again at its sender's next way out of the hypervisor"),
  'event.late': count("an event that waits for as many of its sender's ways out of the hypervisor", 4),
  'hypercall.preempt': happens('a preemption check that answers yes'),
  'vcpu.pause': count('a vCPU that stands aside, before a guest access or hypercall, for as many looks', 16),
  'vcpu.dead': happens('a vCPU that dies: in guest code at once, inside a hypercall at its next check or exit'),
  'domain.destroy': happens('a domain that the control plane destroys, asked for where one of its vCPUs is'),
  'memory.late': count("a dying domain's memory that is handed back as many looks later", 4),
});

/** Whether a site is asked at guest accesses: then the vCPUs must look at each of them. */
export const atGuestAccess = (site: SiteName): boolean =>
  site === 'vcpu.pause' || site === 'vcpu.dead' || site === 'domain.destroy';

/** How many answers of `site` a schedule may choose from, and the word of one of them, from 1; the first is the default. */
export const answerCount = (site: SiteName): number =>
  ABOUT[site].kind === 'status' || ABOUT[site].kind === 'errno' ? ABOUT[site].answers.length : 1;
export const answerAt = (site: SiteName, i: number): number =>
  i === 1 ? (answerWord(site) ?? 0) : (answerWord(site, ABOUT[site].answers[i - 1]) ?? 0);

/** The word that makes `site` answer `name` (a name of its answers, or a number of a count); undefined: it cannot. */
export function answerWord(site: SiteName, name?: string): number | undefined {
  const { kind, answers } = ABOUT[site];
  if (kind === 'happens') return name === undefined ? 1 : undefined;
  const wanted = name ?? answers[0] ?? '';
  if (kind === 'count') {
    const n = /^[1-9][0-9]{0,8}$/.test(wanted) ? Number(wanted) : NaN;
    return Number.isInteger(n) ? n : undefined;
  }
  if (!answers.includes(wanted)) return undefined;
  const table: Readonly<Record<string, unknown>> = kind === 'status' ? grant : errno;
  const value = table[kind === 'status' ? `GNTST_${wanted}` : wanted];
  return typeof value !== 'number' ? undefined : kind === 'status' ? value : -value;
}
