/** Exit, kill, munmap and fork under every design, then the audit: who leaks what. */
import { expect, test } from 'vitest';
import { peek, run } from '../../../src/sync/primitives.js';
import { endAccess } from '../../../guests/drivers/grants.js';
import { DESIGNS } from '../../../guests/designs/registry.js';
import { warned } from '../../../guests/kernel/count.js';
import { WARN } from '../../../guests/kernel/counters.js';
import { kernel } from '../../../guests/kernel/records.js';
import { audit, broken, grant, mapGrants, openLab, runToEnd, spawn } from './lab.js';
import { GNT } from '../process.js';

test.each(DESIGNS)('$name', (design) => {
  run(function* () {
    const lab = yield* openLab(design, { splitPteLocks: design.refuses({ splitPteLocks: true, exitOrder: 0 }) === '' });
    const p = yield* spawn(lab, 5);
    const refs = yield* grant(lab, 3);
    yield* mapGrants(lab, p, refs, GNT);
    expect(broken(audit(lab))).toEqual([]);
    yield* runToEnd(lab);
    const found = audit(lab);
    console.log(
      design.name,
      found.map((v) => v.invariant + ' ' + v.detail),
      Object.entries(WARN)
        .filter(([, k]) => warned(lab.c.k, k) > 0)
        .map(([n]) => n),
      peek(kernel.nrFree(lab.c.k)) - lab.free,
      peek(kernel.nrBallooned(lab.c.k)) - lab.ballooned,
    );
    yield* lab.granter.vcpus[0]!.start();
    let busy = 0;
    for (const ref of refs) if (!(yield* endAccess(lab.g, ref))) busy++;
    console.log('busy', busy);
  });
});
