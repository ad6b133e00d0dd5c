/** Thread entry of the tests: runs one exported function of a compiled module over the shared memory it was given. */
import { parentPort, workerData } from 'node:worker_threads';

/** @type {{ module: string, name: string, args: number[] }} */
const { module, name, args } = workerData;
/** @type {Record<string, (...args: number[]) => unknown>} */
const loaded = await import(module);
try {
  parentPort?.postMessage({ value: loaded[name]?.(...args) });
} catch (error) {
  parentPort?.postMessage({ error: String(error) });
}
