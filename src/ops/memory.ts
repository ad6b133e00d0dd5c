/**
 * The one shared memory of this isolate: machine memory first, hypervisor area above it.
 *
 * Invariant: fixed size (initial == maximum), so every view stays valid for the life of the isolate.
 * Lock: none; this file only finds the memory, once, before any other room is evaluated.
 * Source: reference performance.md 1 and 3 (one WebAssembly.Memory, Int32Array views made once).
 *
 * A thread that belongs to a machine is handed its memory, either as `workerData.memory` or, in a pool whose
 * workerData is not its own, through `provideMemory` before the first import of a core room. An isolate that is
 * handed nothing (a test, a search worker) makes a private one of `XENOLITH_MEMORY_MIB` MiB, 16 by default.
 */
import { workerData } from 'node:worker_threads';

export const WASM_PAGE_BYTES = 65536;
const SLOT = Symbol.for('xenolith.memory');

type Slot = Record<symbol, WebAssembly.Memory | undefined>;

/** A fresh shared memory of exactly `mib` MiB (1 to 4096). */
export function createMemory(mib: number): WebAssembly.Memory {
  const pages = (mib * 1024 * 1024) / WASM_PAGE_BYTES;
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

/** Hands this isolate its memory; only effective before the first core room is imported. */
export function provideMemory(memory: WebAssembly.Memory): void {
  (globalThis as unknown as Slot)[SLOT] = memory;
}

function acquire(): WebAssembly.Memory {
  const provided = (globalThis as unknown as Slot)[SLOT];
  if (provided !== undefined) return provided;
  const data: unknown = workerData;
  if (typeof data === 'object' && data !== null && 'memory' in data) {
    if (data.memory instanceof WebAssembly.Memory) return data.memory;
  }
  return createMemory(Number(process.env['XENOLITH_MEMORY_MIB'] ?? '16'));
}

export const memory = acquire();

/** The whole memory as 32-bit words; an address in the core is an index into it. */
export const words = new Int32Array(memory.buffer);
/** The same as 64-bit numbers, two words each. */
export const doubles = new Float64Array(memory.buffer);
export const TOTAL_WORDS = words.length;
