/** What the fuzzer found that needs a schedule to be told, each with the story on top. */
import { describe, expect, it } from 'vitest';
import * as gnt from '../../src/abi/grant.js';
import { mfnWord } from '../../src/abi/frames.js';
import { interleave } from '../../src/explore/loop.js';
import { roundRobin } from '../../src/explore/round-robin.js';
import { vcpu } from '../../src/machine/cpu-record.js';
import { peek, poke } from '../../src/sync/primitives.js';
import { boot, copyOp, grant, makeDom, on, setVersion, type Dom } from '../hypervisor/grant/lab.js';
import { entryWord, pinOf } from '../hypervisor/grant/tables.js';
import { life } from '../hypervisor/grant/walks.js';

const RESTARTS = 100;

/** A version 2 entry: header, then the three words behind it. */
function grant2(d: Dom, ref: number, header: number, ...rest: number[]): void {
  const at = entryWord(d.gt, ref);
  rest.forEach((v, i) => {
    poke(at + 1 + i, v);
  });
  poke(at, header);
}

/**
 * A granter makes an entry transitive while it is pinned as a plain one. A copy through it pins what is behind, finds that
 * the entry is pinned for something else, lets go and is restarted: as in Xen, without end as long as that pin stays. Fuzz
 * seed 600148 (threads) showed it as a vCPU that never left its hypercall.
 */
describe('a copy through an entry that was made transitive while it was pinned', () => {
  it('is restarted until the pin is gone, and then succeeds', () => {
    boot();
    const granter = makeDom({ domid: 1 });
    const user = makeDom({ domid: 2, vcpus: 2 });
    const behind = makeDom({ domid: 3 });
    const [copier, mapper] = user.cpus;
    expect(setVersion(granter, 2)).toBe(0);
    grant2(granter, 8, gnt.GTF_permit_access | (2 << 16), 0, granter.frames[0]!, 0);
    grant(behind, 9, 1, behind.frames[0]!);
    poke(mfnWord(behind.frames[0]!), 0x1234);
    const [mapped] = on(mapper!, () =>
      mapper!.map({ dom: 1, ref: 8, flags: gnt.GNTMAP_host_map | gnt.GNTMAP_readonly, slot: 0 }),
    );
    expect(mapped!.status).toBe(gnt.GNTST_okay);
    grant2(granter, 8, gnt.GTF_transitive | (2 << 16), 3, 9, 0);

    const restarts = vcpu.nContinuations(copier!.g.cpu);
    let status: number[] = [];
    const bodies = [
      life(copier!, function* () {
        const source = { dom: 1, ref: 8, offset: 0 };
        const dest = { dom: 0x7ff0, mfn: user.frames[0]!, offset: 0 };
        status = yield* copyOp(copier!, [{ source, dest, length: 64 }]);
      }),
      life(mapper!, function* () {
        while (peek(restarts) < RESTARTS) yield* mapper!.g.poll();
        yield* mapper!.unmap({ handle: mapped!.handle, slot: 0 });
      }),
    ];
    expect(interleave(bodies, roundRobin(30)).kind).toBe('done');
    expect(peek(restarts)).toBeGreaterThanOrEqual(RESTARTS);
    expect(status).toEqual([gnt.GNTST_okay]);
    expect(peek(mfnWord(user.frames[0]!))).toBe(0x1234);
    expect([pinOf(granter.gt, 8), pinOf(behind.gt, 9)]).toEqual([0, 0]);
  });
});
