/**
 * The watched entries of every grant table, raw, as d0 reads them through a read-only mapping of the shared frame.
 *
 * Source: tapes FORMAT.md (grants); [X38], [X59].
 */
import * as gnt from '../../abi/grant.js';
import type { Va } from '../../abi/frames.js';
import { vcpu } from '../../machine/cpu-record.js';
import { peek } from '../../sync/primitives.js';
import type { Steps } from '../../sync/steps.js';
import type { MutableProbeState } from './compare.js';
import { OWN_GRANTS_VA, PROBE_VA } from './guest.js';
import type { GrantState } from './schema.js';
import { domainName, domidOf } from './symbols.js';
import { listedFrame, statusFrames } from './table-ops.js';
import type { TapeMachine } from './tape-machine.js';
import { hex64 } from './value.js';

const RO_ENTRY = 0x25;

export function* readGrants(m: TapeMachine, name: string, state: MutableProbeState): Steps<void> {
  const version = m.grantVersion(name);
  const size = version === 2 ? gnt.GRANT_V2_WORDS : gnt.GRANT_V1_WORDS;
  const words = yield* readFrame(m, name, m.grantFrame(name), 4 * size * m.grefOf(name, 0), size * m.tape.watch);
  const status = version === 2 && words !== undefined ? yield* readStatus(m, name) : undefined;
  for (let r = 0; r < m.tape.watch; r++) {
    const entry = words?.slice(r * size, (r + 1) * size);
    state.grants.set(`${name}.${String(r)}`, entry === undefined ? null : decode(m, entry, status?.[r]));
  }
}

/** `n` words at `offset` of a frame of another domain, or of d0's own table; undefined when it cannot be mapped. */
function* readFrame(m: TapeMachine, name: string, mfn: number, offset: number, n: number): Steps<number[] | undefined> {
  const own = name === 'd0' && mfn === m.grantFrame('d0');
  if (!own) {
    const rc = yield* m.d0.map(
      PROBE_VA,
      { lo: (mfn << 12) | RO_ENTRY, hi: 0 },
      name === 'd0' ? undefined : domidOf(name),
    );
    if (rc !== 0) return undefined;
  }
  const to = vcpu.guest(m.d0.g.cpu);
  yield* m.d0.g.loadWords(to, ((own ? OWN_GRANTS_VA : PROBE_VA) + offset) as Va, n);
  const out: number[] = [];
  for (let i = 0; i < n; i++) out.push(peek(to + i));
  if (!own) yield* m.d0.unmap(PROBE_VA);
  return out;
}

/** The status words of the watched entries of a version 2 table. */
function* readStatus(m: TapeMachine, name: string): Steps<number[] | undefined> {
  const { rc, status } = yield* statusFrames(m.d0, domidOf(name), 1);
  if (rc !== 0 || status !== gnt.GNTST_okay) return undefined;
  const mfn = yield* listedFrame(m.d0, 0);
  const first = m.grefOf(name, 0);
  const words = yield* readFrame(m, name, mfn, 2 * (first & ~1), (m.tape.watch >> 1) + 1);
  if (words === undefined) return undefined;
  return Array.from({ length: m.tape.watch }, (_, r) => {
    const i = r + (first & 1);
    return i % 2 === 0 ? gnt.lowHalf(words[i >> 1] ?? 0) : gnt.highHalf(words[i >> 1] ?? 0);
  });
}

/** An entry as probes show it: two words of version 1, four of version 2. */
function decode(m: TapeMachine, words: readonly number[], status: number | undefined): GrantState {
  const [header = 0, second = 0, lo = 0, hi = 0] = words;
  const flags = gnt.lowHalf(header);
  const dom = domainName(gnt.highHalf(header));
  if (words.length === gnt.GRANT_V1_WORDS) return { flags, dom, f: frame(m, second, 0) };
  if (second !== 0 && (flags & gnt.GTF_type_mask) === gnt.GTF_transitive) {
    return { flags, dom, f: hex64(lo, 0), status: status ?? 0, hi: domainName(gnt.lowHalf(second)) };
  }
  const out: GrantState = { flags, dom, f: frame(m, lo, hi), status: status ?? 0 };
  if (second !== 0) out.hi = hex64(second, 0);
  return out;
}

function frame(m: TapeMachine, lo: number, hi: number): GrantState['f'] {
  if (lo === 0 && hi === 0) return 0;
  return m.symbols.frameName(lo, hi) ?? hex64(lo, hi);
}
