import { describe, expect, test } from 'vitest';
import { ScenarioError, type Problem } from '../../src/scenario/error.js';
import { parseScenario } from '../../src/scenario/load.js';
import { CHECKS } from '../../src/scenario/schema.js';
import { catalog, minimal } from './catalog.js';

const parse = (text: string) => parseScenario('s.yaml', text, catalog);

function problems(text: string): readonly Problem[] {
  try {
    parse(text);
  } catch (e) {
    if (e instanceof ScenarioError) return e.problems;
    throw e;
  }
  throw new Error('the scenario was accepted');
}
const lines = (text: string): string[] =>
  problems(text).map(
    (p) =>
      `${String(p.position.line)}:${String(p.position.column)} ${p.message}${p.hint === undefined ? '' : ` (${p.hint})`}`,
  );

describe('a scenario file that is right', () => {
  test('gets every default filled in', () => {
    const s = parse(minimal);
    expect(s).toMatchObject({
      seed: 1,
      memoryMib: 64,
      hypervisor: { build: 'release', quantum: 0, twin: '' },
      extent: { kind: 'rounds' },
    });
    expect(s.checks).toEqual([...CHECKS]);
    expect(s.designs).toEqual(['zap-pte', 'early-unpin', 'late-flag-buggy']);
    expect(s.expect['early-unpin']).toEqual({ kind: 'clean' });
    expect(s.domains.map((d) => [d.name, d.domid])).toEqual([
      ['dom0', 0],
      ['front', 1],
    ]);
    expect(s.domains[0]?.workloads[0]).toEqual({
      program: 'backend',
      processes: 1,
      threads: 1,
      with: { peers: ['front'], pages: 16, end: 'exit' },
    });
  });

  test('may name a rule that the hypervisor breaks, one that exists', () => {
    const wrong = (name: string): string => minimal.replace('domains:', `hypervisor: { twin: ${name} }\ndomains:`);
    expect(parse(wrong('xsa-401')).hypervisor.twin).toBe('xsa-401');
    expect(lines(wrong('xsa-402'))[0]).toContain('xsa-401');
  });

  test('gives the privileged domain number 0 wherever it stands', () => {
    const text = minimal
      .replace('privileged: true', 'privileged: false')
      .replace('name: front\n', 'name: front\n    privileged: true\n');
    expect(parse(text).domains.map((d) => d.domid)).toEqual([1, 0]);
  });

  test('lets a domain override the common kernel options one by one', () => {
    const common = minimal.replace('domains:', 'kernel: { lazyMmu: false, exitOrder: 2.6.25 }\ndomains:');
    const s = parse(common.replace('vcpus: 2\n', 'vcpus: 2\n    kernel: { lazyMmu: true }\n'));
    expect(s.domains[0]?.kernel).toEqual({
      exitOrder: '2.6.25',
      splitPteLocks: true,
      lazyMmu: true,
      restore: 'balloon',
    });
    expect(s.domains[1]?.kernel.lazyMmu).toBe(false);
  });

  test('states the verdict of each design, with a default for the others', () => {
    const s = parse(
      `${minimal}expect: { default: [I10], zap-pte: clean, early-unpin: { breaks: [I10], may: [I9] } }\n`,
    );
    expect(s.expect['zap-pte']).toEqual({ kind: 'clean' });
    expect(s.expect['early-unpin']).toEqual({ kind: 'breaks', breaks: ['I10'], may: ['I9'] });
    expect(s.expect['late-flag-buggy']).toEqual({ kind: 'breaks', breaks: ['I10'], may: [] });
  });

  test('survives a structured clone unchanged', () => {
    const s = parse(minimal);
    expect(structuredClone(s)).toEqual(s);
  });
});

describe('a hostile domain', () => {
  const evil = `  - name: evil
    memory: 1MiB
    vcpus: 2
    hostile: true
`;
  const beside = (text: string): string => `${minimal}${evil.replace('hostile: true', text)}`;

  test('aims at every normal domain unless it is told at whom', () => {
    expect(parse(beside('hostile: true')).domains[2]?.hostile).toMatchObject({ peers: ['dom0', 'front'] });
    const s = parse(beside('hostile: { peers: [front], noise: 90, mix: { events: 0 } }'));
    expect(s.domains[2]?.hostile).toMatchObject({ peers: ['front'], noise: 90, mix: { events: 0, grants: 10 } });
    expect(s.domains[1]?.hostile).toBeUndefined();
  });

  test('has no workload and no kernel, and its peers are normal domains', () => {
    expect(lines(beside('hostile: { peers: [evil] }'))).toEqual([
      "20:24 no normal domain is named 'evil' (one of: dom0, front)",
    ]);
    expect(lines(beside('hostile: true\n    workloads: []'))).toEqual(['21:16 a hostile domain runs no workload']);
    expect(lines(beside('hostile: true\n    kernel: { lazyMmu: true }'))).toEqual([
      '21:13 a hostile domain has no kernel',
    ]);
    expect(lines(beside('hostile: { nois: 3 }'))).toEqual(["20:16 unknown key 'nois' (did you mean 'noise'?)"]);
  });

  test('is not the control domain, and is destroyed by nobody else', () => {
    const privileged = minimal.replace('privileged: true', 'privileged: true\n    hostile: true');
    expect(lines(privileged)).toContain(
      '7:14 the control domain cannot be hostile (nothing could be asked of the others then)',
    );
    expect(lines(`${beside('hostile: true')}events:\n  - { destroy: evil, whenRounds: 3 }\n`)).toEqual([
      '22:16 a hostile domain is destroyed anyway',
    ]);
  });
});

describe('a scenario file that is wrong is refused with its place and a hint', () => {
  test('an unknown key, with the nearest known one', () => {
    expect(lines(minimal.replace('vcpus: 2', 'vcpu: 2'))).toEqual([
      "5:5 missing key 'vcpus'",
      "8:5 unknown key 'vcpu' (did you mean 'vcpus'?)",
    ]);
  });

  test('an unknown key of a workload parameter', () => {
    expect(lines(minimal.replace('{ peers: [front] }', '{ peers: [front], page: 3 }'))).toEqual([
      "11:33 unknown key 'page' (did you mean 'pages'?)",
    ]);
  });

  test('an unknown design', () => {
    expect(lines(`${minimal}designs: [zap-ptr]\n`)).toEqual([
      "17:11 designs[0]: 'zap-ptr' is not known here (did you mean 'zap-pte'?)",
    ]);
    expect(lines(`${minimal}expect: { early-unpn: clean }\n`)).toEqual([
      "17:11 unknown key 'early-unpn' (did you mean 'early-unpin'?)",
    ]);
  });

  test('an unknown program, and a missing one', () => {
    expect(lines(minimal.replace('program: backend', 'program: backnd'))).toEqual([
      "10:18 domains[0].workloads[0].program: 'backnd' is not known here (did you mean 'backend'?)",
    ]);
    expect(lines(minimal.replace('program: frontend', 'threads: 2'))).toEqual([
      "16:9 missing key 'program' (one of: backend, frontend)",
    ]);
  });

  test('a wrong type', () => {
    expect(lines(minimal.replace('vcpus: 2', 'vcpus: two'))).toEqual([
      "8:12 domains[0].vcpus: expected a number, found 'two'",
    ]);
    expect(lines(minimal.replace('privileged: true', 'privileged: yes'))).toEqual([
      "6:17 domains[0].privileged: expected true or false, found 'yes' (YAML 1.2 writes true and false)",
    ]);
    expect(lines('[1, 2]\n')[0]).toBe('1:1 scenario: expected a mapping, found a list');
  });

  test('a number that is no whole number, too large, or out of range', () => {
    expect(lines(minimal.replace('vcpus: 2', 'vcpus: 2.5'))).toEqual([
      '8:12 domains[0].vcpus: expected a whole number, found 2.5',
    ]);
    expect(lines(`${minimal}seed: 123456789012345678901234567890\n`)[0]).toContain('17:7 seed: expected a number');
    expect(lines(`${minimal}seed: 4294967296\n`)).toEqual(['17:7 seed must be at most 4294967295']);
    expect(lines(`${minimal}rounds: 0\n`)).toEqual(['17:9 rounds must be at least 1']);
  });

  test('an invariant that is not audited at rest', () => {
    expect(lines(`${minimal}expect: { early-unpin: [I2] }\n`)[0]).toBe(
      "17:24 I2: found only in a scenario with a 'small' section",
    );
    expect(lines(`${minimal}expect: { early-unpin: [I99] }\n`)[0]).toMatch(
      /^17:25 expect\.early-unpin\[0\]: 'I99' is not known here/,
    );
    expect(lines(`${minimal}expect: { early-unpin: dirty }\n`)).toEqual([
      "17:24 expect.early-unpin: expected 'clean', 'refused' or a list of the invariants that must break, such as [I10]",
    ]);
  });

  test('a duplicate key', () => {
    expect(lines(`${minimal}name: again\n`)).toEqual(['17:1 Map keys must be unique (keep one of the two)']);
  });

  test('YAML that does not parse', () => {
    expect(lines('name: [a\n').length).toBeGreaterThan(0);
    expect(lines('name: a\n\tb: c\n')[0]).toMatch(/^2:1 /);
    expect(lines(`${minimal}---\nname: b\n`)[0]).toContain('one file holds one scenario');
    expect(lines(minimal.replace('name: small', 'name: !js small'))[0]).toMatch(/^1:7 /);
  });

  test('anchors and aliases', () => {
    expect(lines(minimal.replace('8MiB', '&m 8MiB').replace('memory: 8MiB', 'memory: *m'))).toEqual([
      "7:13 anchor '&m' is not allowed (write the value out)",
      "13:13 alias '*m' is not allowed (write the value out)",
    ]);
  });

  test('an empty file', () => {
    expect(lines('')).toEqual(['1:1 the file holds no scenario']);
    expect(lines('# nothing\n')).toEqual(['1:1 the file holds no scenario']);
  });

  test('a key that is a property of every object', () => {
    expect(lines(`${minimal}__proto__: { a: 1 }\n`)[0]).toContain("17:1 unknown key '__proto__'");
    expect(lines(minimal.replace('{ peers: [front] }', '{ peers: [front], constructor: 3 }'))[0]).toContain(
      "unknown key 'constructor'",
    );
  });

  test('a file nested beyond reason', () => {
    expect(lines(`name: ${'['.repeat(20_000)}`)).toEqual(['1:1 the file is nested too deep']);
    expect(lines(`${'- '.repeat(20_000)}a\n`)).toEqual(['1:1 the file is nested too deep']);
  });
});

describe('rules over several fields', () => {
  test('the domains must fit the machine', () => {
    expect(lines(minimal.replace('memory: 64MiB', 'memory: 16MiB'))).toEqual([
      "3:9 the domains need 16MiB (of 16MiB, domains can have 11MiB; raise 'memory' to 23MiB)",
    ]);
    expect(lines(minimal.replace('memory: 64MiB', 'memory: 8GiB'))).toEqual([
      '3:9 the machine has 8GiB (at most 4GiB)',
    ]);
  });

  test('exactly one domain is privileged, and names are unique', () => {
    expect(lines(minimal.replace('    privileged: true\n', ''))[0]).toContain('4:1 0 domains are privileged');
    expect(lines(minimal.replace('name: front', 'name: dom0').replace('[front]', '[dom0]'))).toContain(
      "12:11 two domains are named 'dom0'",
    );
  });

  test('a peer must be another domain', () => {
    expect(lines(minimal.replace('[front]', '[frnt]'))).toEqual([
      "11:25 no other domain is named 'frnt' (did you mean 'front'?)",
    ]);
    expect(lines(minimal.replace('[front]', '[dom0]'))[0]).toContain("no other domain is named 'dom0'");
  });

  test('an event names a domain that may die', () => {
    expect(lines(`${minimal}events: [{ destroy: dom0, whenRounds: 3 }]\n`)).toEqual([
      '17:21 the control domain cannot be destroyed',
    ]);
    expect(lines(`${minimal}events: [{ destroy: frunt, whenRounds: 3 }]\n`)[0]).toContain("did you mean 'front'?");
    expect(parse(`${minimal}events: [{ destroy: front, whenRounds: 3 }]\n`).events).toEqual([
      { destroy: 'front', whenRounds: 3, of: 'front' },
    ]);
  });

  test('rounds and duration exclude each other', () => {
    expect(lines(`${minimal}rounds: 3\nduration: 4\n`)).toEqual([
      "18:11 both 'rounds' and 'duration' are given (keep one of them)",
    ]);
  });

  test('what is expected to break must be checked, of a design that runs', () => {
    expect(lines(`${minimal}checks: [I5]\nexpect: { zap-pte: [I10] }\n`)[0]).toContain("'checks' leaves it out");
    expect(lines(`${minimal}designs: [zap-pte]\nexpect: { early-unpin: clean }\n`)[0]).toContain(
      "'designs' leaves it out",
    );
  });

  test('several problems are all reported, in the order of the file', () => {
    expect(
      lines(
        minimal.replace('name: small', 'name: Small!').replace('[front]', '[frnt]').replace('vcpus: 2', 'vcpus: 0'),
      ),
    ).toHaveLength(2);
  });
});
