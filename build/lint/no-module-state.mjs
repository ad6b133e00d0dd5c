/**
 * Rule `xenolith/no-module-state`: no mutable state at module level in interruptible rooms.
 *
 * A module variable is one per vCPU where vCPUs are threads and one for all where they are coroutines: the two builds
 * would be two programs, the auditor would not see it, and a reset would not restore it. State is a declared record in
 * the shared memory; what belongs to one vCPU hangs off its `cpu` argument.
 */
import { AST_NODE_TYPES as N, ESLintUtils } from '@typescript-eslint/utils';

/** @typedef {import('@typescript-eslint/utils').TSESTree.Node} Node */
/** @typedef {import('@typescript-eslint/utils').TSESTree.Expression} Expression */
/** @typedef {import('@typescript-eslint/utils').TSESTree.TypeNode} TypeNode */

const CONTAINER =
  /^(Array|Map|Set|WeakMap|WeakSet|ArrayBuffer|SharedArrayBuffer|DataView|(Big)?(Ui|I)nt\d+(Clamped)?Array|Float\d+Array)$/;
const READONLY_TYPE = /^(Readonly|ReadonlyArray|ReadonlyMap|ReadonlySet)$/;
/** `Array.from(...)`, `Int32Array.of(...)`, `Object.create(...)`: new containers by another name. */
const MAKERS = /^(from|of|create|assign|fromEntries|entries|keys|values)$/;

/** @param {Node} node @returns {string | undefined} */
function nameOf(node) {
  return node.type === N.Identifier ? node.name : undefined;
}

/** @param {TypeNode} type */
function isConst(type) {
  return type.type === N.TSTypeReference && nameOf(type.typeName) === 'const';
}

/** A type through which nobody can write. @param {TypeNode} type */
function isReadonlyType(type) {
  if (type.type === N.TSTypeOperator) return type.operator === 'readonly';
  return type.type === N.TSTypeReference && READONLY_TYPE.test(nameOf(type.typeName) ?? '');
}

/** @param {Node | undefined} callee */
function isFreeze(callee) {
  return (
    callee?.type === N.MemberExpression && nameOf(callee.object) === 'Object' && nameOf(callee.property) === 'freeze'
  );
}

/**
 * Whether this initializer gives something that can be written to.
 * @param {Expression} e
 * @returns {boolean}
 */
function isMutable(e) {
  switch (e.type) {
    case N.TSAsExpression:
      return !isConst(e.typeAnnotation) && !isReadonlyType(e.typeAnnotation) && isMutable(e.expression);
    case N.TSSatisfiesExpression:
    case N.TSNonNullExpression:
      return isMutable(e.expression);
    case N.ObjectExpression:
    case N.ArrayExpression:
      return true;
    case N.NewExpression:
      return e.callee.type !== N.Identifier || CONTAINER.test(e.callee.name);
    case N.ConditionalExpression:
      return isMutable(e.consequent) || isMutable(e.alternate);
    case N.LogicalExpression:
      return isMutable(e.left) || isMutable(e.right);
    case N.CallExpression:
      return isMaker(e.callee);
    default:
      return false;
  }
}

/** @param {Expression} callee */
function isMaker(callee) {
  if (isFreeze(callee)) return false;
  if (callee.type === N.Identifier) return callee.name === 'Array';
  if (callee.type !== N.MemberExpression || callee.object.type !== N.Identifier) return false;
  const { name } = callee.object;
  return (name === 'Object' || CONTAINER.test(name)) && MAKERS.test(nameOf(callee.property) ?? '');
}

/** At module level, in an `export` or not. @param {Node} node */
function isModuleLevel(node) {
  const p = node.parent;
  return p?.type === N.Program || (p?.type === N.ExportNamedDeclaration && p.parent.type === N.Program);
}

export const noModuleState = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    messages: {
      variable: 'A module variable is one per thread here and one for all there: use a record, or the cpu argument.',
      object:
        '{{name}} can be written to and lives in the module: use a record in shm, `as const`, a readonly type or Object.freeze.',
      field: 'A static field that can be written to is a module variable: use a record, or readonly.',
    },
    schema: [],
    defaultOptions: [],
  },
  create(context) {
    return {
      /** @param {import('@typescript-eslint/utils').TSESTree.VariableDeclaration} node */
      VariableDeclaration(node) {
        if (!isModuleLevel(node) || node.declare) return;
        if (node.kind !== 'const') {
          context.report({ node, messageId: 'variable' });
          return;
        }
        for (const { id, init } of node.declarations) {
          const type = id.typeAnnotation?.typeAnnotation;
          if (init === null || id.type !== N.Identifier || (type !== undefined && isReadonlyType(type))) continue;
          if (isMutable(init)) context.report({ node: id, messageId: 'object', data: { name: id.name } });
        }
      },
      /** @param {import('@typescript-eslint/utils').TSESTree.PropertyDefinition} node */
      'PropertyDefinition[static=true]'(node) {
        const mutable = !node.readonly || (node.value !== null && isMutable(node.value));
        if (mutable && node.value?.type !== N.ArrowFunctionExpression) context.report({ node, messageId: 'field' });
      },
    };
  },
});
