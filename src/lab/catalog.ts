/**
 * What the guests offer by name, read from their catalog: designs, workload programs, steps of small scenarios.
 *
 * Invariant: read as data, so that no machine and no guest code is loaded to name them.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Catalog, StepArgument, StepEntry } from '../abi/catalog.js';

const about = z.string().min(1);
const parameter = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('integer'), min: z.int(), max: z.int(), default: z.int(), about }),
  z.strictObject({ kind: z.literal('choice'), values: z.tuple([z.string()], z.string()), default: z.string(), about }),
  z.strictObject({ kind: z.literal('flag'), default: z.boolean(), about }),
  z.strictObject({ kind: z.literal('domains'), about }),
]);
const stepArgument = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('integer'), name: about, min: z.int(), max: z.int(), default: z.int().optional() }),
  z.strictObject({ kind: z.literal('domain'), name: about }),
]);
const step = z.strictObject({
  name: z.string(),
  by: z.enum(['process', 'kernel', 'control']),
  arguments: z.array(stepArgument),
  about,
});
const schema = z.strictObject({
  designs: z.array(
    z.strictObject({
      name: z.string(),
      buggy: z.boolean(),
      about,
      rule: z.string().optional(),
      underFaults: z.boolean().optional(),
    }),
  ),
  programs: z.array(z.strictObject({ name: z.string(), about, parameters: z.record(z.string(), parameter) })),
  steps: z.array(step),
});

/** The same place from the sources and from the build, which copies it. */
const FILE = new URL('../../guests/catalog.json', import.meta.url);

const withoutUndefined = (s: z.infer<typeof step>): StepEntry => ({
  ...s,
  arguments: s.arguments.map((a): StepArgument => {
    if (a.kind === 'domain') return a;
    const { default: d, ...rest } = a;
    return d === undefined ? rest : { ...rest, default: d };
  }),
});

export function loadCatalog(): Catalog {
  const { designs, programs, steps } = schema.parse(JSON.parse(readFileSync(FILE, 'utf8')));
  return {
    designs: designs.map(({ rule, underFaults, ...d }) => ({
      ...d,
      ...(rule === undefined ? {} : { rule }),
      ...(underFaults === undefined ? {} : { underFaults }),
    })),
    programs,
    steps: steps.map(withoutUndefined),
  };
}
