/** Where the recorded tapes lie. */
import { fileURLToPath } from 'node:url';

export const FAMILIES = ['directed', 'pagetable', 'grant', 'lifecycle', 'mixed', 'agents'] as const;

export const tapeFile = (family: string): string =>
  fileURLToPath(new URL(`../data/tapes/${family}.jsonl.gz`, import.meta.url));
