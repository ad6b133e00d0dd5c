/**
 * The shape of a tape, as `tapes/FORMAT.md` writes it: one JSON object a line, every field named here, no others.
 *
 * Invariant: what passes is shaped well; whether its names exist is `symbols.ts`'s question.
 * Source: tapes FORMAT.md.
 */
import * as z from 'zod';
import { MMUEXT_NAMES, UPDATE_NAMES } from './commands.js';
import { HEX } from './value.js';

const hex = z.string().regex(HEX, 'expected a hex number such as 0x1f, of at most 16 digits');
const name = z.string();
const count = z.int().min(0);
const u32 = z.int().min(0).max(4294967295);
const index = z.int().min(0).max(511);
const framed = z.strictObject({ f: name, fl: hex });
const value = z.union([framed, hex]);
const va = z.union([count, hex]);
const offset = z.int().min(0).max(4095);
const pte = z.strictObject({ f: name, i: index, low: z.int().min(0).max(7).optional() });

const domState = z.strictObject({ dying: z.int(), shutdown: z.int(), tot: z.int(), shr: z.int() });
const grantState = z.strictObject({
  flags: z.int(),
  dom: name,
  f: z.union([z.literal(0), name]),
  status: z.int().optional(),
  hi: name.optional(),
});
export type DomState = z.infer<typeof domState>;
export type GrantState = z.infer<typeof grantState>;

const probes = {
  types: z.record(name, name.nullable()).optional(),
  doms: z.record(name, domState.nullable()).optional(),
  grants: z.record(name, grantState.nullable()).optional(),
};
const result = z.union([z.literal('xen'), value, z.strictObject({ mfn: name })]);
const expectation = z.strictObject({
  outcome: z.enum(['domain_crash', 'caller_crash', 'caller_dead']).optional(),
  rc: z.int().optional(),
  done: count.optional(),
  status: z.union([z.int(), z.array(z.int())]).optional(),
  r: z.array(z.strictObject({ status: z.int(), dev: value.optional() })).optional(),
  v: z.union([result, z.record(name, result)]).optional(),
  fault: z.int().optional(),
  ec: z.int().optional(),
  cr2ok: z.boolean().optional(),
  version: z.int().optional(),
  nr: z.int().optional(),
  max: z.int().optional(),
  ...probes,
});
export type Expectation = z.infer<typeof expectation>;

const mmuext = z.strictObject({
  cmd: z.enum(MMUEXT_NAMES),
  f: name.optional(),
  va: va.optional(),
  a1: z.union([count, hex]).optional(),
  a2: z.union([count, hex]).optional(),
  src: name.optional(),
});
const update = z.strictObject({
  t: name,
  i: index.optional(),
  v: value,
  cmd: z.enum(UPDATE_NAMES).optional(),
  low: z.int().min(0).max(7).optional(),
});
const at = { va: va.optional(), off: offset.optional(), pte: pte.optional() };
const map = z.strictObject({ h: count, dom: name, ref: u32, flags: u32, ...at });
const handle = { h: count.optional(), rawh: hex.optional() };
const unmap = z.strictObject({ ...handle, ...at, addr: hex.optional(), dev: value.optional() });

const common = { by: name.optional(), expect: expectation };
const op = <const N extends string, S extends z.ZodRawShape>(kind: N, shape: S) =>
  z.strictObject({ op: z.literal(kind), ...shape, ...common });

export const opSchema = z.discriminatedUnion('op', [
  op('poke', { f: name, i: index, v: value, dom: name.optional() }),
  op('fill', { f: name, i: index, n: count, v: value, step: z.union([count, hex]), dom: name.optional() }),
  op('peek', { f: name, i: index, dom: name.optional() }),
  op('snap', { f: name, dom: name.optional() }),
  op('mmuext', { dom: name.optional(), ops: z.array(mmuext) }),
  op('mmu_update', { dom: name.optional(), ptdom: name.optional(), u: z.array(update) }),
  op('update_va', { va, v: value, dom: name.optional(), flags: count.optional() }),
  op('vread', { va, off: offset.optional() }),
  op('vwrite', { va, off: offset.optional(), v: value }),
  op('gnt_map', { maps: z.array(map) }),
  op('gnt_unmap', { unmaps: z.array(unmap) }),
  op('gnt_replace', { ...handle, va, new: va.nullable() }),
  op('gnt_copy', {
    sref: u32.optional(),
    sf: name.optional(),
    sdom: name,
    soff: count.optional(),
    dref: u32.optional(),
    df: name.optional(),
    ddom: name,
    doff: count.optional(),
    len: count,
    flags: count.optional(),
  }),
  op('gnt_transfer', { f: name, dom: name, ref: u32 }),
  op('gnt_swap', { a: u32, b: u32 }),
  op('gnt_set_version', { version: count }),
  op('gnt_get_version', { dom: name }),
  op('gnt_query_size', { dom: name }),
  op('gnt_setup_table', { dom: name, nr: count }),
  op('gnt_status_frames', { dom: name, nr: count }),
  op('gnt_cache_flush', { fop: u32, addr: value.optional(), ref: u32.optional(), off: count, len: count }),
  op('gnt_write', {
    dom: name,
    ref: u32,
    flags: count.max(65535),
    gdom: name,
    f: name.nullable(),
    v: z.int().min(1).max(2).optional(),
    poff: count.optional(),
    plen: count.optional(),
    tdom: name.optional(),
    tref: u32.optional(),
  }),
  op('decrease', { dom: name.optional(), f: z.array(name) }),
  op('populate', { dom: name.optional(), out: z.array(name) }),
  op('increase', { dom: name.optional(), out: z.array(name) }),
  op('exchange', { dom: name.optional(), in: z.array(name), out: z.array(name) }),
  op('destroy', { dom: name }),
  op('pause', { dom: name, on: z.int().min(0).max(1) }),
  op('m2p', { f: name }),
  op('vm_assist', { cmd: count, type: count }),
]);
export type Op = z.infer<typeof opSchema>;
export type OpOf<K extends Op['op']> = Extract<Op, { op: K }>;
export type MapEntry = z.infer<typeof map>;
export type UnmapEntry = z.infer<typeof unmap>;

export const tapeSchema = z.strictObject({
  id: z.string().min(1),
  family: name,
  doms: z.int().min(0).max(8),
  frames: z.array(name.nullable()),
  watch: z.int().min(0).max(64),
  agents: z.boolean().optional(),
  fresh: z.boolean().optional(),
  note: name.optional(),
  ops: z.array(opSchema),
  init: z.strictObject(probes),
  outcome: z.enum(['ok', 'domain_crash']),
  crash_at: name.optional(),
});
export type Tape = z.infer<typeof tapeSchema>;
