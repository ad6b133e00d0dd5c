/** A catalog for tests: what the scenario room is told, independent of the guests that exist. */
import type { Catalog } from '../../src/abi/catalog.js';

export const catalog: Catalog = {
  designs: [
    { name: 'zap-pte', buggy: false, about: 'unmap in the PTE clear' },
    { name: 'early-unpin', buggy: false, about: 'unpin first' },
    { name: 'late-flag-buggy', buggy: true, about: 'flag set too late', rule: 'X55' },
  ],
  programs: [
    {
      name: 'backend',
      about: 'maps grants of others',
      parameters: {
        peers: { kind: 'domains', about: 'whose grants' },
        pages: { kind: 'integer', min: 1, max: 512, default: 16, about: 'pages a map' },
        end: { kind: 'choice', values: ['exit', 'kill'], default: 'exit', about: 'how processes end' },
      },
    },
    {
      name: 'frontend',
      about: 'grants',
      parameters: { busy: { kind: 'flag', default: false, about: 'keep pages busy' } },
    },
  ],
  steps: [
    {
      name: 'grant',
      by: 'kernel',
      arguments: [
        { kind: 'domain', name: 'peer' },
        { kind: 'integer', name: 'pages', min: 1, max: 4, default: 1 },
      ],
      about: 'grants pages',
    },
    { name: 'exit', by: 'process', arguments: [], about: 'ends' },
    { name: 'revoke', by: 'kernel', arguments: [{ kind: 'integer', name: 'grant', min: 0, max: 3 }], about: 'revokes' },
    { name: 'destroy', by: 'control', arguments: [{ kind: 'domain', name: 'domain' }], about: 'destroys' },
  ],
};

export const minimal = `name: small
description: a small one
memory: 64MiB
domains:
  - name: dom0
    privileged: true
    memory: 8MiB
    vcpus: 2
    workloads:
      - program: backend
        with: { peers: [front] }
  - name: front
    memory: 8MiB
    vcpus: 2
    workloads:
      - program: frontend
`;
