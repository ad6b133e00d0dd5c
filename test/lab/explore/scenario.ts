/** The shipped small scenarios by name. */
import { loadCatalog } from '../../../src/lab/catalog.js';
import { readScenario } from '../../../src/lab/scenario-file.js';
import type { Scenario } from '../../../src/scenario/scenario.js';

export const smallFile = (name: string): string => `guests/scenarios/small/${name}.yaml`;
export const smallScenario = (name: string): Scenario => readScenario(smallFile(name), loadCatalog());
