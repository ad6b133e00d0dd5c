/**
 * Rule `xenolith/no-clock`: below the laboratory nothing depends on time or chance of its own.
 *
 * A run is a function of scenario, seed or schedule, and fault plan; one reading of a clock and it no longer replays.
 */
import { AST_NODE_TYPES as N, ESLintUtils } from '@typescript-eslint/utils';

/** @typedef {import('@typescript-eslint/utils').TSESTree.Node} Node */

const GLOBALS = new Set([
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'crypto',
]);
/** Members of globals that are otherwise welcome. */
const MEMBERS = new Set([
  'Math.random',
  'process.hrtime',
  'process.uptime',
  'process.nextTick',
  'process.cpuUsage',
  'process.pid',
]);
const MODULES = /^(node:)?(timers(\/promises)?|perf_hooks|crypto)$/;

/** @param {import('@typescript-eslint/utils').TSESTree.MemberExpression} node */
function memberName(node) {
  if (!node.computed) return node.property.name;
  return node.property.type === N.Literal ? String(node.property.value) : undefined;
}

export const noClock = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    messages: { clock: '{{name}}: no clock and no chance below src/lab; a run must replay.' },
    schema: [],
    defaultOptions: [],
  },
  create(context) {
    /**
     * @param {Node} node
     * @param {string} name
     */
    const report = (node, name) => {
      context.report({ node, messageId: 'clock', data: { name } });
    };

    /**
     * One use of a global name, followed through `globalThis.`.
     * @param {Node} node
     * @param {string} name
     * @returns {void}
     */
    const check = (node, name) => {
      const p = node.parent;
      if (GLOBALS.has(name)) report(node, name);
      else if (p?.type === N.MemberExpression && p.object === node) checkMember(p, name, memberName(p));
      else checkPattern(node, name);
    };

    /**
     * @param {Node} node
     * @param {string} name
     * @param {string | undefined} member
     */
    const checkMember = (node, name, member) => {
      if (member === undefined) return;
      if (name === 'globalThis' || name === 'global') check(node, member);
      else if (MEMBERS.has(`${name}.${member}`)) report(node, `${name}.${member}`);
    };

    /**
     * `const { random } = Math`.
     * @param {Node} node
     * @param {string} name
     */
    const checkPattern = (node, name) => {
      const p = node.parent;
      if (p?.type !== N.VariableDeclarator || p.id.type !== N.ObjectPattern) return;
      for (const property of p.id.properties) {
        if (property.type !== N.Property || property.key.type !== N.Identifier) continue;
        const key = property.key.name;
        if (MEMBERS.has(`${name}.${key}`)) report(property, `${name}.${key}`);
        if (name === 'globalThis' && GLOBALS.has(key)) report(property, key);
      }
    };

    return {
      /** @param {import('@typescript-eslint/utils').TSESTree.ImportDeclaration} node */
      ImportDeclaration(node) {
        if (MODULES.test(node.source.value) && node.importKind !== 'type') report(node, node.source.value);
      },
      Program() {
        const { scopeManager } = context.sourceCode;
        const global = scopeManager?.globalScope;
        const declared = global?.variables.filter((v) => v.defs.length === 0).flatMap((v) => v.references) ?? [];
        for (const r of [...(global?.through ?? []), ...declared]) {
          if (r.isValueReference && r.identifier.type === N.Identifier) {
            check(r.identifier, r.identifier.name);
          }
        }
      },
    };
  },
});
