/**
 * The `faults:` and `sweep:` sections: what the schema cannot say. Pure.
 *
 * Invariant: each problem names the place that a user would change.
 */
import { ABOUT, answerWord } from '../fault/about.js';
import type { Report } from './rules.js';
import type { RawScenario } from './schema.js';
import { hintFor } from './suggest.js';

export function faultRules(raw: RawScenario, report: Report): void {
  const names = raw.domains.map((d) => d.name);
  raw.faults?.forEach((f, i) => {
    if (answerWord(f.site, f.status) === undefined) {
      const { kind, answers } = ABOUT[f.site];
      const hint = kind === 'status' || kind === 'errno' ? `it answers ${answers.join(', ')}` : `leave 'status' out`;
      report(['faults', i, 'status'], `${f.site} cannot answer '${f.status ?? ''}'`, hint);
    }
    const d = raw.domains.find((x) => x.name === f.domain);
    if (f.domain !== undefined && d === undefined) {
      report(['faults', i, 'domain'], `no domain is named '${f.domain}'`, hintFor(f.domain, names));
    }
    if (f.vcpu !== undefined && f.vcpu >= (d ?? { vcpus: Infinity }).vcpus) {
      report(['faults', i, 'vcpu'], `${f.domain ?? ''} has no vCPU ${String(f.vcpu)}`, 'vCPUs count from 0');
    }
    if (f.frames !== undefined && f.frames[0] > f.frames[1]) {
      report(['faults', i, 'frames'], 'the last frame comes before the first');
    }
  });
  for (const kind of ['expect', 'persistent'] as const) {
    for (const design of Object.keys(raw.sweep?.[kind] ?? {})) {
      if (design !== 'default' && raw.designs !== undefined && !(raw.designs as readonly string[]).includes(design)) {
        report(['sweep', kind, design], `'${design}' is expected of, but 'designs' leaves it out`);
      }
    }
  }
}
