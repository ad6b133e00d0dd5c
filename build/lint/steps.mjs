/**
 * Rule `xenolith/steps`: a generator object exists only as the operand of `yield*`.
 *
 * The parallel build erases `*` and `yield*`. A generator object anywhere else is a function that never runs in the
 * controlled build and one that does in the parallel build, and the compiler sees nothing wrong with either.
 *
 * Everywhere: no call that is dropped, no generator as a condition or operand, none handed to a parameter that does not
 * say so, no function that gives one where another kind of callback is expected, no bare `yield`.
 * With `interruptible`: no generator object at all outside `yield*`.
 * Generator functions are values like any others.
 */
import { AST_NODE_TYPES as N, ESLintUtils } from '@typescript-eslint/utils';
import { declaredParameter, isCallable, mayBeGenerator, returnsGenerator } from './types.mjs';

/** @typedef {import('@typescript-eslint/utils').TSESTree.Node} Node */
/** @typedef {import('@typescript-eslint/utils').TSESTree.Expression} Expression */
/** @typedef {'stray' | 'dropped' | 'condition' | 'argument' | 'callback' | 'bare'} MessageId */

/** Expressions whose value is made by them, not handed through from a part of them. */
const SOURCES = /** @type {const} */ ([
  N.CallExpression,
  N.NewExpression,
  N.MemberExpression,
  N.TaggedTemplateExpression,
  N.AwaitExpression,
  N.YieldExpression,
]);

/**
 * The whole expression that has this one's value: wrappers, branches, last operands.
 * @param {Node} node
 * @returns {Node}
 */
function outermost(node) {
  const p = node.parent;
  if (p === undefined) return node;
  switch (p.type) {
    case N.TSAsExpression:
    case N.TSTypeAssertion:
    case N.TSSatisfiesExpression:
    case N.TSNonNullExpression:
    case N.ChainExpression:
      return outermost(p);
    case N.ConditionalExpression:
      return p.test === node ? node : outermost(p);
    case N.LogicalExpression:
      return p.right === node ? outermost(p) : node;
    case N.SequenceExpression:
      return p.expressions.at(-1) === node ? outermost(p) : node;
    default:
      return node;
  }
}

/**
 * What is wrong with a generator that stands here, for any file.
 * @param {Node} node the outermost expression
 * @returns {MessageId | undefined}
 */
function misuse(node) {
  const p = node.parent;
  switch (p?.type) {
    case N.ExpressionStatement:
    case N.SequenceExpression:
      return 'dropped';
    case N.IfStatement:
    case N.WhileStatement:
    case N.DoWhileStatement:
    case N.ForStatement:
    case N.ConditionalExpression:
    case N.LogicalExpression:
    case N.SwitchStatement:
      return 'condition';
    case N.UnaryExpression:
      return p.operator === '!' ? 'condition' : 'stray';
    case N.BinaryExpression:
    case N.TemplateLiteral:
    case N.SpreadElement:
    case N.ForOfStatement:
      return 'stray';
    default:
      return undefined;
  }
}

/** @param {Node} node */
function isDelegated(node) {
  return node.parent?.type === N.YieldExpression && node.parent.delegate;
}

/**
 * The call of which this is an argument, and which argument it is.
 * @param {Node} node
 */
function argumentOf(node) {
  const p = node.parent;
  if (p?.type !== N.CallExpression && p?.type !== N.NewExpression) return undefined;
  const index = p.arguments.findIndex((a) => a === node);
  return index < 0 ? undefined : { call: p, index };
}

export const steps = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    messages: {
      stray: 'A generator outside yield*: only the controlled build would run it here as written.',
      dropped: 'yield* is missing: the controlled build never runs this call.',
      condition: 'yield* is missing: a generator object is always true.',
      argument: 'A generator handed to a parameter that does not take Steps; yield* is missing.',
      callback: 'This function gives Steps, but whoever calls it here does not yield* them.',
      bare: 'A bare yield has no meaning in the parallel build.',
    },
    schema: [
      {
        type: 'object',
        properties: { interruptible: { type: 'boolean' }, coroutines: { type: 'boolean' } },
        additionalProperties: false,
      },
    ],
    defaultOptions: [{ interruptible: true, coroutines: false }],
  },
  create(context, [options]) {
    const { interruptible, coroutines } = options ?? { interruptible: true, coroutines: false };
    const services = ESLintUtils.getParserServices(context);
    const checker = services.program.getTypeChecker();
    /** @type {Set<Node>} */
    const reported = new Set();

    /**
     * @param {Node} node
     * @param {MessageId} messageId
     */
    const report = (node, messageId) => {
      if (reported.has(node)) return;
      reported.add(node);
      context.report({ node, messageId });
    };

    /** @param {Node} node */
    const typeOf = (node) => services.getTypeAtLocation(node);

    /**
     * @param {{ call: import('@typescript-eslint/utils').TSESTree.CallExpression | import('@typescript-eslint/utils').TSESTree.NewExpression, index: number }} argument
     */
    const parameterOf = ({ call, index }) =>
      declaredParameter(checker, services.esTreeNodeToTSNodeMap.get(call), index);

    /** @param {Node} node an expression whose value may be a generator object */
    const checkGenerator = (node) => {
      const whole = outermost(node);
      if (isDelegated(whole)) return;
      const wrong = misuse(whole) ?? (interruptible ? 'stray' : misuseAsArgument(whole));
      if (wrong !== undefined) report(whole, wrong);
    };

    /** @param {Node} whole @returns {MessageId | undefined} */
    const misuseAsArgument = (whole) => {
      const argument = argumentOf(whole);
      const parameter = argument === undefined ? undefined : parameterOf(argument);
      return parameter !== undefined && !mayBeGenerator(checker, parameter) ? 'argument' : undefined;
    };

    /** @param {Node} node */
    const isWritten = (node) => node.parent?.type === N.AssignmentExpression && node.parent.left === node;

    /** @param {Node} node */
    const checkSource = (node) => {
      if (isWritten(node) || !mayBeGenerator(checker, typeOf(node))) return;
      if (node.type === N.AwaitExpression && mayBeGenerator(checker, typeOf(node.argument))) return;
      checkGenerator(node);
    };

    /**
     * A function that gives generators, in a place that says what it expects.
     * @param {Node} node
     */
    const checkFunction = (node) => {
      const whole = outermost(node);
      if (whole.parent?.type === N.CallExpression && whole.parent.callee === whole) return;
      if (!returnsGenerator(checker, typeOf(node))) return;
      const argument = argumentOf(whole);
      if (argument !== undefined) {
        const parameter = parameterOf(argument);
        if (parameter === undefined || returnsGenerator(checker, parameter)) return;
        const inline = node.type === N.FunctionExpression || node.type === N.ArrowFunctionExpression;
        if (inline || isCallable(checker, parameter)) report(node, 'callback');
        return;
      }
      const tsNode = services.esTreeNodeToTSNodeMap.get(whole);
      checkExpected(node, checker.getContextualType(/** @type {import('typescript').Expression} */ (tsNode)));
    };

    /**
     * @param {Node} node
     * @param {import('typescript').Type | undefined} expected
     */
    const checkExpected = (node, expected) => {
      if (expected === undefined || !isCallable(checker, expected)) return;
      if (!returnsGenerator(checker, expected)) report(node, 'callback');
    };

    /**
     * A method against the object or interface it is written for.
     * @param {Node} node
     * @param {readonly (import('typescript').Type | undefined)[]} owners
     * @param {string} name
     */
    const checkMethod = (node, owners, name) => {
      if (!returnsGenerator(checker, typeOf(node))) return;
      for (const owner of owners) {
        const member =
          owner === undefined ? undefined : checker.getPropertyOfType(checker.getNonNullableType(owner), name);
        if (member === undefined) continue;
        checkExpected(node, checker.getTypeOfSymbolAtLocation(member, services.esTreeNodeToTSNodeMap.get(node)));
      }
    };

    return {
      /** @param {import('@typescript-eslint/utils').TSESTree.YieldExpression} node */
      YieldExpression(node) {
        if (!node.delegate && !coroutines) report(node, 'bare');
      },
      [SOURCES.join(',')]: checkSource,
      /** @param {import('@typescript-eslint/utils').TSESTree.MemberExpression} node */
      MemberExpression(node) {
        if (!isWritten(node)) checkFunction(node);
      },
      /** @param {Node} node */
      'FunctionExpression, ArrowFunctionExpression'(node) {
        const p = node.parent;
        const method = p?.type === N.MethodDefinition || (p?.type === N.Property && p.method);
        if (!method) checkFunction(node);
      },
      /** @param {import('@typescript-eslint/utils').TSESTree.Property} node */
      'ObjectExpression > Property[method=true]'(node) {
        if (node.computed || node.key.type !== N.Identifier) return;
        const object = services.esTreeNodeToTSNodeMap.get(node.parent);
        const owner = checker.getContextualType(/** @type {import('typescript').Expression} */ (object));
        checkMethod(node.value, [owner], node.key.name);
      },
      /** @param {import('@typescript-eslint/utils').TSESTree.MethodDefinition} node */
      MethodDefinition(node) {
        if (node.computed || node.key.type !== N.Identifier || node.static) return;
        const owner = node.parent.parent;
        const bases = [
          ...owner.implements.map((i) => typeOf(i)),
          owner.superClass === null ? undefined : baseOf(owner),
        ];
        checkMethod(node.value, bases, node.key.name);
      },
      'Program:exit'() {
        for (const scope of context.sourceCode.scopeManager?.scopes ?? []) {
          for (const reference of scope.references) {
            if (!reference.isRead() || !reference.isValueReference) continue;
            checkSource(reference.identifier);
            checkFunction(reference.identifier);
          }
        }
      },
    };

    /** @param {import('@typescript-eslint/utils').TSESTree.ClassDeclaration | import('@typescript-eslint/utils').TSESTree.ClassExpression} node */
    function baseOf(node) {
      const type = typeOf(node);
      const instance = type.getConstructSignatures()[0]?.getReturnType() ?? type;
      return checker.getBaseTypes(/** @type {import('typescript').InterfaceType} */ (instance))[0];
    }
  },
});
