/**
 * Rule `xenolith/no-raw-view`: the shared memory is reached through accessors.
 *
 * A plain store through a view of one's own declares nothing to the scheduler and is not logged for the reset; no other
 * rule sees it. So outside the ops and the primitives nobody calls `Atomics` or makes a view over shared memory, and
 * only rooms that the primitives themselves stand on (option `words`) take `words`, the view that exists.
 */
import { AST_NODE_TYPES as N, ESLintUtils } from '@typescript-eslint/utils';

const VIEW = /^(DataView|(Big)?(Ui|I)nt\d+(Clamped)?Array|Float\d+Array)$/;
const SHARED = /\b(SharedArrayBuffer|ArrayBufferLike)\b/;

export const noRawView = ESLintUtils.RuleCreator.withoutDocs({
  meta: {
    type: 'problem',
    messages: {
      atomics: 'Atomics outside src/ops and the primitives: use an accessor, it declares the access.',
      view: 'A view of the shared memory outside src/ops and the primitives: use accessors.',
      words: 'The words of the shared memory are for what the primitives stand on: use accessors.',
    },
    schema: [{ type: 'object', properties: { words: { type: 'boolean' } }, additionalProperties: false }],
    defaultOptions: [{ words: false }],
  },
  create(context, [options]) {
    const services = ESLintUtils.getParserServices(context);
    const checker = services.program.getTypeChecker();
    return {
      /** @param {import('@typescript-eslint/utils').TSESTree.MemberExpression} node */
      'MemberExpression[object.name="Atomics"]'(node) {
        context.report({ node, messageId: 'atomics' });
      },
      /** @param {import('@typescript-eslint/utils').TSESTree.NewExpression} node */
      NewExpression(node) {
        const [buffer] = node.arguments;
        if (buffer === undefined || node.callee.type !== N.Identifier || !VIEW.test(node.callee.name)) return;
        if (SHARED.test(checker.typeToString(services.getTypeAtLocation(buffer)))) {
          context.report({ node, messageId: 'view' });
        }
      },
      /** @param {import('@typescript-eslint/utils').TSESTree.ImportDeclaration} node */
      ImportDeclaration(node) {
        if (options?.words === true || !/\/ops\/memory\.js$/.test(node.source.value)) return;
        for (const s of node.specifiers) {
          const name = s.type === N.ImportSpecifier && s.imported.type === N.Identifier ? s.imported.name : 'words';
          if (name === 'words') context.report({ node: s, messageId: 'words' });
        }
      },
    };
  },
});
