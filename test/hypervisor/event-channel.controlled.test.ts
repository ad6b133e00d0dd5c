/** Event channels under schedules: both ends closed at once, and events that must not be lost. */
import { describe, expect, it, vi } from 'vitest';

vi.hoisted(() => {
  process.env['XENOLITH_MEMORY_MIB'] = '4';
});

import { EINVAL } from '../../src/abi/errno.js';
import * as ev from '../../src/abi/event-channel.js';
import { DOMID_SELF, mfnWord } from '../../src/abi/frames.js';
import { HYPERVISOR_event_channel_op } from '../../src/abi/hypercall.js';
import { channel, channelOf, ECS_FREE, ECS_UNBOUND, sharedInfoMfn } from '../../src/hypervisor/event-port.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { actor, REQ_EVENT } from '../../src/sync/actor.js';
import { ld, or, peek, poke, xchg } from '../../src/sync/primitives.js';
import type { Steps } from '../../src/sync/steps.js';
import { boot, makeDom, on, type Dom, type Guest } from './grant/lab.js';
import { everySwitch, life, walk, type Body } from './grant/walks.js';

let a: Dom;
let b: Dom;

function* op(c: Guest, cmd: number, ...words: number[]): Steps<number> {
  words.forEach((w, i) => {
    c.put(i, w);
  });
  c.g.arg(0, cmd, 0);
  c.g.argVa(1, c.va);
  return yield* c.g.hypercall(HYPERVISOR_event_channel_op);
}

/** Port 1 of both domains, bound to each other, no event pending. */
function joined(): void {
  boot();
  a = makeDom({ domid: 1 });
  b = makeDom({ domid: 2 });
  on(a.cpus[0]!, () => op(a.cpus[0]!, ev.EVTCHNOP_alloc_unbound, DOMID_SELF | (2 << 16), 0));
  on(b.cpus[0]!, () => op(b.cpus[0]!, ev.EVTCHNOP_bind_interdomain, 1, 1, 0));
  for (const d of [a, b]) {
    for (let i = 0; i < 1024; i++) poke(mfnWord(sharedInfoMfn(d.d)) + i, 0);
    poke(vcpu.upcallPending(d.cpus[0]!.g.cpu), 0);
    poke(actor.request(d.cpus[0]!.g.cpu), 0);
  }
}
const stateOf = (d: Dom): number => peek(channel.state(channelOf(d.d, 1)));

describe('two ends closed at once', () => {
  it('are both closed in the end, and nobody waits for ever', () => {
    const make = (): Body[] => {
      joined();
      return [a, b].map((d) =>
        life(d.cpus[0]!, function* () {
          expect(yield* op(d.cpus[0]!, ev.EVTCHNOP_close, 1)).toBe(0);
        }),
      );
    };
    const look = (): void => {
      expect([stateOf(a), stateOf(b)]).toEqual([ECS_FREE, ECS_FREE]);
    };
    everySwitch(make, look);
    walk(150, make, look);
  });

  it('and an end closed while the other is bound anew answer as if one came first', () => {
    const rcs = new Set<string>();
    const make = (): Body[] => {
      joined();
      let closed = 0;
      return [
        life(a.cpus[0]!, function* () {
          closed = yield* op(a.cpus[0]!, ev.EVTCHNOP_close, 1);
          rcs.add(`close ${String(closed)}`);
        }),
        life(b.cpus[0]!, function* () {
          yield* op(b.cpus[0]!, ev.EVTCHNOP_close, 1);
          rcs.add(`bind ${String(yield* op(b.cpus[0]!, ev.EVTCHNOP_bind_interdomain, 1, 1, 0))}`);
        }),
      ];
    };
    everySwitch(make, () => {
      // a's end is closed in the end; b's is free, or waits for a.
      expect(stateOf(a)).toBe(ECS_FREE);
      expect([ECS_FREE, ECS_UNBOUND]).toContain(stateOf(b));
    });
    expect(rcs).toEqual(new Set(['close 0', 'bind 0', `bind ${String(-EINVAL)}`]));
  });
});

describe('an event', () => {
  /** What a kernel does in its upcall: selector, then bits, each taken away as it is seen. */
  function* consume(page: number): Steps<number> {
    let n = 0;
    const selected = yield* xchg(page + ev.VCPU_INFO_PENDING_SEL, 0);
    if (selected === 0) return 0;
    for (let bits = yield* xchg(page + ev.SHARED_INFO_PENDING, 0); bits !== 0; bits &= bits - 1) n++;
    return n;
  }

  const make = (masks: boolean, seen: { n: number }) => (): Body[] => {
    joined();
    seen.n = 0;
    const page = mfnWord(sharedInfoMfn(a.d));
    const c = a.cpus[0]!;
    return [
      life(b.cpus[0]!, function* () {
        yield* op(b.cpus[0]!, ev.EVTCHNOP_send, 1);
      }),
      life(c, function* () {
        if (masks) {
          yield* or(page + ev.SHARED_INFO_MASK, 2);
          yield* op(c, ev.EVTCHNOP_unmask, 1);
        }
        if ((yield* ld(vcpu.upcallPending(c.g.cpu))) !== 0) seen.n += yield* consume(page);
      }),
    ];
  };

  it.each([false, true])(
    'is seen by the upcall or still announced, whether the port was masked meanwhile: %s',
    (masks) => {
      const seen = { n: 0 };
      const ends = new Set<number>();
      const look = (): void => {
        const page = mfnWord(sharedInfoMfn(a.d));
        const left = (peek(page + ev.SHARED_INFO_PENDING) >>> 1) & 1;
        expect(seen.n + left).toBe(1);
        ends.add(left);
        if (left === 0) return;
        // Not taken yet: selector and upcall say so, and the mask does not hide it.
        expect([peek(page + ev.VCPU_INFO_PENDING_SEL), peek(page + ev.SHARED_INFO_MASK)]).toEqual([1, 0]);
        const asked = (peek(actor.request(a.cpus[0]!.g.cpu)) & REQ_EVENT) !== 0 || a.cpus[0]!.events > 0;
        expect(asked || peek(vcpu.upcallPending(a.cpus[0]!.g.cpu)) !== 0).toBe(true);
      };
      everySwitch(make(masks, seen), look);
      walk(100, make(masks, seen), look);
      expect(ends.has(1)).toBe(true);
    },
  );
});
