/**
 * The names a tape may use: domains, frames, commands; and the check that it uses no others.
 *
 * Source: tapes FORMAT.md (symbols in inputs, initial state).
 */
import type { Op, Tape } from './schema.js';

/** MiB of memory that the machine of a tape needs (see set-up.ts); most of it is never touched. */
export const TAPE_MEMORY_MIB = 96;
/** Domain names that stand for fixed ids. */
export const FIXED_DOMAINS: ReadonlySet<string> = new Set(['self', 'io', 'xen', 'inv', 'none']);
/** Special frames of every running domain, in the order of their numbers. */
export const SPECIALS = ['SL3', 'SL2', 'SL1', 'KL3', 'CR3'] as const;

/** `SL1` of d0, `d1.SL1` of the guests. */
export const specialName = (domain: number, special: string): string =>
  domain === 0 ? special : `d${String(domain)}.${special}`;

/** Every frame name of a tape, in the order in which its machine-to-physical entries are numbered. */
export function frameNames(tape: Tape): readonly string[] {
  const out: string[] = [];
  const running = tape.agents === true ? tape.doms + 1 : 1;
  for (let d = 0; d < running; d++) out.push(...SPECIALS.map((s) => specialName(d, s)));
  tape.frames.forEach((_, i) => out.push(`f${String(i)}`));
  return out;
}

export interface UnknownName {
  readonly path: string;
  readonly what: 'domain' | 'frame';
  readonly name: string;
  readonly hint: string;
}

/** The first name that the tape has not. */
export function unknownName(tape: Tape): UnknownName | undefined {
  const frames = new Set([...frameNames(tape), 'bad', 'other']);
  const owners = new Set(Array.from({ length: tape.doms + 1 }, (_, d) => `d${String(d)}`));
  const domains = new Set([...owners, ...FIXED_DOMAINS]);
  const hints = {
    frame: `this tape has f0..f${String(tape.frames.length - 1)}, the special frames and "bad"`,
    domain: `this tape has d0..d${String(tape.doms)} and ${[...FIXED_DOMAINS].join(', ')}`,
  };
  const bad = (path: string, what: 'domain' | 'frame', name: string): UnknownName => ({
    path,
    what,
    name,
    hint: hints[what],
  });
  for (const [i, owner] of tape.frames.entries()) {
    if (owner !== null && !owners.has(owner)) return bad(`frames[${String(i)}]`, 'domain', owner);
  }
  for (const [i, op] of tape.ops.entries()) {
    const path = `ops[${String(i)}]`;
    if (op.by !== undefined && !owners.has(op.by)) return bad(`${path}.by`, 'domain', op.by);
    for (const name of domainsOf(op)) if (!domains.has(name)) return bad(path, 'domain', name);
    for (const name of framesOf(op)) if (!frames.has(name)) return bad(path, 'frame', name);
  }
  return undefined;
}

const DOMAIN_KEYS = new Set(['dom', 'ptdom', 'gdom', 'sdom', 'ddom', 'tdom']);
const FRAME_KEYS = new Set(['f', 't', 'sf', 'df', 'src', 'in', 'out']);

const domainsOf = (op: Op): string[] => collect(op, DOMAIN_KEYS);
const framesOf = (op: Op): string[] => collect(op, FRAME_KEYS);

/** Strings under one of `keys` anywhere in an operation, its expectation aside. */
function collect(node: unknown, keys: ReadonlySet<string>, out: string[] = []): string[] {
  if (typeof node !== 'object' || node === null) return out;
  for (const [key, value] of Object.entries(node)) {
    if (key === 'expect') continue;
    if (keys.has(key)) {
      for (const v of Array.isArray(value) ? (value as unknown[]) : [value]) if (typeof v === 'string') out.push(v);
    }
    collect(value, keys, out);
  }
  return out;
}
