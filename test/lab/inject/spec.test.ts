/** Faults as text, and what a run under them is called. */
import { describe, expect, it } from 'vitest';
import type { Violation } from '../../../src/abi/guest.js';
import { DESIGN_STEP } from '../../../src/abi/design-step.js';
import { judge, type Evidence } from '../../../src/lab/inject/outcome.js';
import { formatFault, parseFault, ruleOf } from '../../../src/lab/inject/spec.js';

describe('a fault as text', () => {
  it.each([
    'gnttab.unmap',
    'gnttab.unmap:nth=3,status=eagain',
    'mmuext.unpin:probability=0.5,seed=7,times=2',
    'page.alloc:domain=dom0,vcpu=1,step=zap,space=4',
    'gnttab.map:ref=8,handle=0,frames=10-20,after=1,interval=2',
  ])('%s is read and written', (text) => {
    expect(parseFault(formatFault(parseFault(text)))).toEqual(parseFault(text));
  });

  it.each([
    ['gnttab.unmapp', /no site 'gnttab.unmapp'/],
    ['gnttab.unmap:nth', /no key=value/],
    ['gnttab.unmap:nth=0', /nth is 0/],
    ['gnttab.unmap:nth=-1', /nth is '-1'/],
    ['gnttab.unmap:nth=1,nth=2', /given twice/],
    ['gnttab.unmap:when=1', /no key 'when'/],
    ['gnttab.unmap:status=EINVAL', /cannot answer 'EINVAL'/],
    ['gnttab.unmap:step=lunch', /no step 'lunch'/],
    ['gnttab.unmap:probability=2', /probability is 2/],
    ['gnttab.unmap:frames=9-3', /frames is '9-3'/],
  ])('%s is refused', (text, why) => {
    expect(() => parseFault(text)).toThrow(why);
  });

  it('becomes a rule that spares vCPUs that boot, unless a step is named', () => {
    const actors = (): number[] => [3];
    const of = (text: string): ReturnType<typeof ruleOf> => ruleOf(parseFault(text), actors, false);
    expect(of('gnttab.unmap:nth=2').steps).not.toContain(DESIGN_STEP.boot);
    expect(of('gnttab.unmap:step=zap')).toMatchObject({ status: -1, steps: [DESIGN_STEP.zap] });
    expect(of('gnttab.unmap:domain=dom0')).toMatchObject({ actors: [3] });
    expect(() => ruleOf(parseFault('gnttab.unmap:domain=nobody'), () => [], false)).toThrow(/no such vCPU/);
  });
});

describe('a run is called', () => {
  const nothing: Evidence = { injected: true, hung: '', bug: '', violations: [], kept: [], stock: [], normals: [] };
  const of = (e: Partial<Evidence>): string => judge({ ...nothing, ...e }).outcome;
  const found = (invariant: string, severity: Violation['severity'], detail = ''): Violation => ({
    invariant,
    severity,
    detail,
    holders: [],
  });
  const stock = (
    free: number,
    quarantined: number,
    awaited: number,
    granted: number,
    unknown = 0,
  ): Evidence['stock'][number] => ({
    domain: 'dom0',
    free,
    quarantined,
    awaited,
    granted,
    unknown,
  });

  it.each<[string, Partial<Evidence>]>([
    ['clean', {}],
    ['not exercised', { injected: false }],
    ['corrupted', { bug: 'a frame freed twice' }],
    ['hung', { hung: 'nobody holds it' }],
    ['crashed', { violations: [found('crash', 'broken')] }],
    ['corrupted', { violations: [found('crash', 'broken'), found('I6', 'broken')] }],
    ['leaked', { violations: [found('I10', 'broken')] }],
    ['degraded', { violations: [found('I10', 'degraded')] }],
    ['clean', { violations: [found('warning', 'broken', 'the kernel of dom0 warned 1 times: grantUnmap')] }],
    ['corrupted', { violations: [found('warning', 'broken', 'the kernel of dom0 warned 1 times: oops')] }],
    ['degraded', { kept: ['the grant driver'] }],
    ['leaked', { stock: [stock(9, 0, 0, 0)], normals: [[stock(10, 0, 0, 0)]] }],
    ['leaked', { stock: [stock(9, 1, 0, 0)], normals: [[stock(10, 0, 0, 0)]] }],
    ['leaked', { stock: [stock(10, 0, 0, 0, 1)], normals: [[stock(10, 0, 0, 0)]] }],
    ['degraded', { stock: [stock(9, 1, 1, 0)], normals: [[stock(10, 0, 0, 0)]] }],
    ['clean', { stock: [stock(9, 0, 0, 1)], normals: [[stock(10, 0, 0, 0)]] }],
    ['clean', { stock: [stock(12, 0, 0, 0)], normals: [[stock(10, 0, 0, 0)]] }],
    ['clean', { stock: [stock(9, 0, 0, 0)], normals: [[stock(10, 0, 0, 0)], [stock(9, 0, 0, 0)]] }],
  ])('%s', (outcome, evidence) => {
    expect(of(evidence)).toBe(outcome);
  });
});
