/**
 * What the guests offer by name, read from their catalog: designs and workload programs.
 *
 * Invariant: read as data, so that no machine and no guest code is loaded to name them.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Catalog } from '../abi/catalog.js';

const about = z.string().min(1);
const parameter = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('integer'), min: z.int(), max: z.int(), default: z.int(), about }),
  z.strictObject({ kind: z.literal('choice'), values: z.tuple([z.string()], z.string()), default: z.string(), about }),
  z.strictObject({ kind: z.literal('flag'), default: z.boolean(), about }),
  z.strictObject({ kind: z.literal('domains'), about }),
]);
const schema = z.strictObject({
  designs: z.array(z.strictObject({ name: z.string(), buggy: z.boolean(), about, rule: z.string().optional() })),
  programs: z.array(z.strictObject({ name: z.string(), about, parameters: z.record(z.string(), parameter) })),
});

/** The same place from the sources and from the build, which copies it. */
const FILE = new URL('../../guests/catalog.json', import.meta.url);

export function loadCatalog(): Catalog {
  const { designs, programs } = schema.parse(JSON.parse(readFileSync(FILE, 'utf8')));
  return { designs: designs.map(({ rule, ...d }) => (rule === undefined ? d : { ...d, rule })), programs };
}
