/** The machine in memories of 1 MiB to 4 GiB: everything at the top frames works as at the bottom ones. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** In a process of its own; a memory is backed only where it is touched. */
const SCRIPT = `
  const { words, TOTAL_WORDS } = await import('./src/ops/memory.js');
  const layout = await import('./src/machine/layout.js');
  const { CPUS_BASE, MAX_CPUS, cpuAt } = await import('./src/sync/actor.js');
  const { vcpu } = await import('./src/machine/cpu-record.js');
  const frame = await import('./src/machine/frame.js');
  const tlb = await import('./src/machine/tlb.js');
  const kernels = await import('./src/machine/kernels/index.js');
  const { makeVa } = await import('./src/abi/frames.js');
  const { FRAMES, FRAME_TABLE } = layout;
  const cpu = cpuAt(MAX_CPUS - 1);
  // A tree of the five highest frames; the highest is data.
  const [data, l1, l2, l3, l4] = [1, 2, 3, 4, 5].map((n) => FRAMES - n);
  const va = makeVa(511, 511, 511, 511);
  for (const [table, below] of [[l4, l3], [l3, l2], [l2, l1], [l1, data]]) words[table * 1024 + 1022] = (below << 12) | 7;
  words[vcpu.cr3(cpu)] = l4 + 1;
  words[vcpu.kernelMode(cpu)] = 1;
  tlb.tlbInit(cpu);
  const last = tlb.translate(cpu, va + 4092, tlb.ACCESS_WRITE);
  words[last] = 77;
  words[l1 * 1024] = (FRAMES << 12) | 7;
  const beyond = tlb.translate(cpu, va - 511 * 4096, tlb.ACCESS_READ);
  words[l1 * 1024] = 0;
  words[frame.countInfo(data)] = 2;
  words[frame.typeInfo(data)] = frame.PGT_writable_page | frame.PGT_validated;
  words[frame.ownerWord(data)] = 4;
  const validated = kernels.validateL1(l1 * 1024, 0, 4, FRAME_TABLE, FRAMES, 0, 0);
  const counts = [words[frame.countInfo(data)], words[frame.typeInfo(data)] & 7, kernels.countPresent(l1 * 1024)];
  kernels.copyPage(l2 * 1024, data * 1024);
  const copied = words[l2 * 1024 + 1023];
  kernels.zeroPage(data * 1024);
  const regions = [0, FRAME_TABLE, layout.TLBS, layout.GLOBALS, layout.ARENA, layout.ARENA + layout.ARENA_CHUNKS * 1024,
    CPUS_BASE, TOTAL_WORDS];
  process.stdout.write(JSON.stringify({
    frames: FRAMES, ordered: regions.every((r, i) => i === 0 || regions[i - 1] <= r), chunks: layout.ARENA_CHUNKS,
    last: last - (FRAMES * 1024 - 1), beyond, error: words[vcpu.errorCode(cpu)], validated, counts, copied,
    zeroed: words[FRAMES * 1024 - 1], entries: tlb.tlbEntries(cpu).length,
  }));
`;

interface Answer {
  readonly frames: number;
  readonly chunks: number;
}

function machineOf(mib: number): Answer {
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', SCRIPT], {
    cwd: fileURLToPath(new URL('../../dist/parallel/', import.meta.url)),
    env: { ...process.env, XENOLITH_MEMORY_MIB: String(mib) },
    encoding: 'utf8',
  });
  return JSON.parse(out) as Answer;
}

describe('a machine in a memory of', () => {
  it.each([1, 2, 4, 8, 64, 1024, 4096])('%i MiB reaches its highest frame and no further', (mib) => {
    const answer = machineOf(mib);
    expect(answer).toMatchObject({
      frames: mib * 192,
      ordered: true,
      last: 0,
      beyond: -1,
      error: 9,
      validated: 512,
      counts: [3, 1, 1],
      copied: 77,
      zeroed: 0,
      entries: 1,
    });
    expect(answer.chunks).toBeGreaterThan(mib * 256 * 0.1);
  });
});
