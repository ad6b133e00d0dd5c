/**
 * The shape of a scenario file, as zod checks it and as editors learn it (JSON Schema).
 *
 * Invariant: one description for both; names of designs and programs come from the guests' catalog.
 * Lock: none. What spans several fields is checked in `rules.ts`.
 */
import { z } from 'zod';
import { TWIN_NAMES } from '../abi/twins.js';
import type { Catalog, Parameter, ProgramEntry } from '../abi/catalog.js';
import { DESIGN_STEPS } from '../abi/design-step.js';
import { HOSTILE_GROUPS } from '../abi/hostile.js';
import { SITES } from '../fault/sites.js';

/** Invariants that can be audited at quiescence (reference section 6). */
export const CHECKS = [
  'I1', 'I3', 'I4', 'I5', 'I6', 'I8', 'I9', 'I10', 'I11', 'I13', 'I14', 'I15', 'I16', 'I17', 'I18',
] as const; // prettier-ignore
export type Check = (typeof CHECKS)[number];

/** Findings that are looked for whatever the checks: a domain that the hypervisor crashed, a warning of a guest kernel. */
export const ALWAYS = ['crash', 'warning'] as const;
/** Findings that only a search over schedules makes: they end an execution where they happen. */
export const EXPLORED = [
  'I2', 'I7', 'I12', 'I19', 'bug', 'deadlock', 'leak', 'livelock', 'lock-order', 'page-lock', 'race', 'stale',
] as const; // prettier-ignore
export type Finding = Check | (typeof ALWAYS)[number] | (typeof EXPLORED)[number];

/** Counters of which a scenario may demand a least number, else the run is *not exercised*. */
// prettier-ignore
export const REQUIRABLE = [
  'hypercalls', 'pteWrites', 'flushes', 'pageFaults', 'emulations', 'grantMaps', 'grantUnmaps',
  'exitMmaps', 'kills', 'forks', 'munmaps', 'grantsMapped', 'grantsTornDown', 'unmapDeferred', 'leaveMm',
  'crossCalls', 'reclaimed', 'ballooned', 'lazySections', 'ioRequests', 'revokesBusy',
] as const;

const NAME = /^[a-z][a-z0-9.-]*$/;
const SIZE = /^[1-9][0-9]{0,6}(MiB|GiB)$/;

const name = z
  .string()
  .regex(NAME, { error: 'expected a name: a letter, then letters, digits, . and -, all lower case' });
const size = z.string().regex(SIZE, { error: "expected a size such as '64MiB' or '1GiB'" });
const flag = (about: string) => z.boolean().meta({ description: about });
const whole = (min: number, max: number, about: string) => z.int().min(min).max(max).meta({ description: about });

export const kernelSchema = z
  .strictObject({
    exitOrder: z
      .enum(['today', '2.6.25'])
      .meta({ description: "Order of exit_mmap's steps: today's Linux, or 2.6.25's." }),
    splitPteLocks: flag('One lock per page-table page instead of one per address space.'),
    lazyMmu: flag('Queue page-table updates of lazy-MMU sections in multicall batches.'),
    restore: z.enum(['balloon', 'remap', 'replace']).meta({
      description:
        'What a granted page gets back: its ballooned frame never, the old frame by a remap, or by unmap_and_replace.',
    }),
  })
  .partial()
  .meta({ description: 'Options of a guest kernel.' });

const finding = z.enum([...CHECKS, ...ALWAYS, ...EXPLORED]);
const expectation = z.union(
  [
    z.enum(['clean', 'refused']),
    z.array(finding).min(1),
    z.strictObject({ breaks: z.array(finding).min(1), may: z.array(finding).optional() }),
  ],
  { error: "expected 'clean', 'refused' or a list of the invariants that must break, such as [I10]" },
);

function parameterSchema(p: Parameter): z.ZodType {
  switch (p.kind) {
    case 'integer':
      return whole(p.min, p.max, p.about).optional();
    case 'choice':
      return z.enum(p.values).meta({ description: p.about }).optional();
    case 'flag':
      return flag(p.about).optional();
    case 'domains':
      return z.array(name).min(1).meta({ description: p.about });
  }
}

function workloadSchema(program: ProgramEntry) {
  const entries = Object.entries(program.parameters).map(([key, p]) => [key, parameterSchema(p)] as const);
  const needs = Object.values(program.parameters).some((p) => p.kind === 'domains');
  const parameters = z.strictObject(Object.fromEntries(entries));
  return z
    .strictObject({
      program: z.literal(program.name),
      processes: whole(1, 64, 'Processes that run this program.').optional(),
      threads: whole(1, 16, 'Threads of each process, all of one address space.').optional(),
      with: needs ? parameters : parameters.optional(),
    })
    .meta({ description: program.about });
}

const hostile = z.union(
  [
    z.literal(true),
    z
      .strictObject({
        peers: z.array(name).min(1).meta({ description: 'Domains it aims at; all others unless said.' }),
        noise: whole(0, 255, 'Of 256 values that it passes, how many are noise.'),
        mix: z
          .partialRecord(z.enum(HOSTILE_GROUPS), whole(0, 100, 'How often; 10 is usual, 0 is never.'))
          .meta({ description: 'What it does how often.' }),
        life: whole(1, 1_000_000, 'Steps of a vCPU, about, before the domain is destroyed and built anew.'),
      })
      .partial(),
  ],
  { error: 'expected true, or options such as { noise: 40 }' },
);

function domainSchema(catalog: Catalog) {
  const [first, ...rest] = catalog.programs.map(workloadSchema);
  const workload = first === undefined ? z.never() : z.discriminatedUnion('program', [first, ...rest]);
  return z.strictObject({
    name: name.meta({ description: 'Name of the domain, for workloads, events and reports.' }),
    privileged: flag('The control domain. Exactly one has it, and it is domain 0.').optional(),
    memory: size.meta({ description: 'Machine memory of the domain.' }),
    vcpus: whole(1, 64, 'Virtual CPUs, each a thread.'),
    kernel: kernelSchema.optional(),
    hostile: hostile
      .meta({ description: 'No kernel: its vCPUs make random calls as long as the scenario runs, life after life.' })
      .optional(),
    workloads: z.array(workload).meta({ description: 'What runs in it.' }).optional(),
  });
}

const event = z
  .strictObject({
    destroy: name.meta({ description: 'Domain that the control plane destroys.' }),
    whenRounds: whole(1, 1_000_000_000, 'Rounds of work that must have been finished in `of` before.'),
    of: name.meta({ description: 'Domain whose rounds are counted; the destroyed one unless said.' }).optional(),
  })
  .meta({ description: 'Something the control plane does while the vCPUs run.' });

/** Choices of the machine that a small scenario may leave to the schedule (`src/sync/choices.ts`). */
export const CHOICE_NAMES = ['tlb.evict', 'flush.deliver', 'event.deliver', 'hypercall.preempt', 'fault'] as const;

const WHO = /^(control|[a-z][a-z0-9.-]*\.[0-9]{1,2})$/;
const lists = z.record(
  z.string().regex(WHO, { error: "expected a vCPU such as 'dom0.0', or 'control'" }),
  z.array(z.string().min(1)),
);
const small = z
  .strictObject({
    setup: z
      .array(lists)
      .meta({ description: 'Steps by vCPU, run one after the other before every execution begins.' })
      .optional(),
    race: lists.meta({ description: 'Steps by vCPU, run side by side; every schedule of them is searched.' }),
    choices: z
      .array(z.enum(CHOICE_NAMES))
      .meta({ description: 'What the machine may do otherwise, as a schedule says; nothing unless said.' })
      .optional(),
    faults: whole(0, 100, "Most faults of an execution, where 'fault' is a choice; 1 unless said.").optional(),
    bound: whole(100, 100_000_000, 'Steps of an execution above which it counts as a livelock.').optional(),
  })
  .meta({ description: 'What `explore` searches; a file with it needs no workloads.' });

/** What a run under injected faults can end as, from best to worst. */
export const OUTCOMES = ['not exercised', 'clean', 'degraded', 'leaked', 'hung', 'crashed', 'corrupted'] as const;
export type OutcomeName = (typeof OUTCOMES)[number];

const UINT32 = 0xffffffff;
const fault = z
  .strictObject({
    site: z.enum(SITES).meta({ description: 'Where; `xenolith inject --list` names them.' }),
    status: z.string().min(1).meta({ description: 'What it answers, one of what the site can.' }).optional(),
    nth: whole(1, UINT32, 'Exactly this occurrence.').optional(),
    after: whole(0, UINT32, 'Only occurrences beyond this many.').optional(),
    interval: whole(1, UINT32, 'Every so many of those.').optional(),
    times: whole(1, UINT32, 'At most so often.').optional(),
    space: whole(0, UINT32, 'How many may pass that would have failed.').optional(),
    probability: z.number().min(0).max(1).meta({ description: 'Chance of each.' }).optional(),
    seed: whole(0, UINT32, "Of that chance; the scenario's unless said.").optional(),
    domain: name.meta({ description: 'Only where this domain runs.' }).optional(),
    vcpu: whole(0, 63, 'Only on this vCPU of it.').optional(),
    step: z.enum(DESIGN_STEPS).meta({ description: 'Only while its kernel is at this.' }).optional(),
    ref: whole(0, UINT32, 'Only this grant reference.').optional(),
    handle: whole(0, UINT32, 'Only this handle.').optional(),
    frames: z
      .tuple([whole(0, UINT32, 'First.'), whole(0, UINT32, 'Last.')])
      .meta({ description: 'Only these machine frames.' })
      .optional(),
  })
  .meta({ description: 'A fault that is injected.' });

const sweepSchema = (designs: z.ZodEnum<Record<string, string>>) => {
  const cells = (meta: string) =>
    z
      .partialRecord(designs, z.partialRecord(z.enum(['default', 'none', ...SITES]), z.array(z.enum(OUTCOMES)).min(1)))
      .meta({ description: meta });
  return z
    .strictObject({
      expect: cells(
        "Per design and site (none: without a fault), all that occurrences end as besides clean; a design's own words stand before those of the default.",
      ).optional(),
      persistent: cells('The same where an occurrence and all after it fail.').optional(),
    })
    .meta({ description: 'What `inject --sweep` is expected to show, cell by cell.' });
};

/** The schema of a scenario file under a catalog. */
export function scenarioSchema(catalog: Catalog) {
  const designs = z.enum(catalog.designs.map((d) => d.name));
  const known = z.enum(['default', ...catalog.designs.map((d) => d.name)]);
  return z
    .strictObject({
      name,
      description: z.string().min(1).meta({ description: 'What the scenario is for, in a sentence.' }),
      seed: whole(0, 0xffffffff, 'Seed of every random choice of the workloads.').optional(),
      memory: size.meta({ description: 'The whole machine, 1MiB to 4GiB; three quarters of it are machine frames.' }),
      hypervisor: z
        .strictObject({
          build: z
            .enum(['release', 'debug'])
            .meta({ description: "Xen's build; debug is by reference only, no recording covers it." }),
          quantum: whole(0, 1_000_000, 'Every how many preemption checks one answers yes; 0 is never.'),
          twin: z
            .enum(TWIN_NAMES)
            .meta({ description: 'A rule that the hypervisor breaks on purpose, for searches to find.' }),
        })
        .partial()
        .optional(),
      kernel: kernelSchema.optional(),
      domains: z.array(domainSchema(catalog)).min(1),
      events: z.array(event).optional(),
      small: small.optional(),
      faults: z.array(fault).max(16).meta({ description: 'Faults that every run of the scenario meets.' }).optional(),
      sweep: sweepSchema(known).optional(),
      rounds: whole(1, 1_000_000_000, 'Rounds of work of each thread.').optional(),
      duration: whole(1, 86_400, 'Seconds to run, instead of rounds.').optional(),
      designs: z.array(designs).min(1).meta({ description: 'Designs to run; all unless said.' }).optional(),
      checks: z.array(z.enum(CHECKS)).min(1).meta({ description: 'Invariants to audit; all unless said.' }).optional(),
      expect: z
        .partialRecord(known, expectation)
        .meta({ description: 'Verdict per design; `default` for the others, else clean.' })
        .optional(),
      require: z
        .partialRecord(z.enum(REQUIRABLE), z.int().min(1))
        .meta({ description: 'Least counts of a run; below one of them it is not exercised.' })
        .optional(),
    })
    .meta({ title: 'Xenolith scenario' });
}

export type RawScenario = z.infer<ReturnType<typeof scenarioSchema>>;
export type RawKernel = z.infer<typeof kernelSchema>;
export type RawExpectation = z.infer<typeof expectation>;

/** The JSON Schema (draft 7) of scenario files, for editors. */
export function scenarioJsonSchema(catalog: Catalog): unknown {
  return z.toJSONSchema(scenarioSchema(catalog), { target: 'draft-7', io: 'input' });
}
export type RawFault = z.infer<typeof fault>;
