/** The project's own lint rules, as a plugin; each file says why its rule exists. */
import { noClock } from './no-clock.mjs';
import { noModuleState } from './no-module-state.mjs';
import { noRawView } from './no-raw-view.mjs';
import { steps } from './steps.mjs';

/** @type {unknown} */
const plugin = {
  meta: { name: 'xenolith' },
  rules: { steps, 'no-module-state': noModuleState, 'no-clock': noClock, 'no-raw-view': noRawView },
};

// The linter's two packages describe rules in two ways that do not assign to each other.
export const xenolith = /** @type {import('eslint').ESLint.Plugin} */ (plugin);
