/** What the typed rules ask the compiler about: "is this a generator?", "what was expected here?". */
import ts from 'typescript';

/**
 * Whether a value of this type may be a generator object.
 * @param {ts.TypeChecker} checker
 * @param {ts.Type} type
 * @returns {boolean}
 */
export function mayBeGenerator(checker, type) {
  if (type.isUnionOrIntersection()) return type.types.some((t) => mayBeGenerator(checker, t));
  if ((type.flags & ts.TypeFlags.Instantiable) !== 0) {
    const constraint = checker.getBaseConstraintOfType(type);
    return constraint !== undefined && constraint !== type && mayBeGenerator(checker, constraint);
  }
  const name = type.getSymbol()?.name;
  if (name === 'Generator' || name === 'AsyncGenerator') return true;
  return type.isClassOrInterface() && checker.getBaseTypes(type).some((t) => mayBeGenerator(checker, t));
}

/**
 * The call signatures of a type, of all members of a union.
 * @param {ts.TypeChecker} checker
 * @param {ts.Type} type
 * @returns {readonly ts.Signature[]}
 */
function signatures(checker, type) {
  if (type.isUnion()) return type.types.flatMap((t) => signatures(checker, t));
  if ((type.flags & ts.TypeFlags.Instantiable) !== 0) {
    const constraint = checker.getBaseConstraintOfType(type);
    return constraint === undefined || constraint === type ? [] : signatures(checker, constraint);
  }
  return type.getCallSignatures();
}

/**
 * Whether calling a value of this type may give a generator object.
 * @param {ts.TypeChecker} checker
 * @param {ts.Type} type
 */
export function returnsGenerator(checker, type) {
  return signatures(checker, type).some((s) => mayBeGenerator(checker, s.getReturnType()));
}

/**
 * @param {ts.TypeChecker} checker
 * @param {ts.Type} type
 */
export function isCallable(checker, type) {
  return signatures(checker, type).length > 0;
}

/**
 * The type of one parameter as it is written at its declaration, type parameters not filled in: an argument that gives
 * a generator would otherwise pass as whatever `T` the call infers from it.
 * @param {ts.TypeChecker} checker
 * @param {ts.CallExpression | ts.NewExpression} call
 * @param {number} index
 * @returns {ts.Type | undefined}
 */
export function declaredParameter(checker, call, index) {
  const signature = checker.getResolvedSignature(call);
  if (signature === undefined) return undefined;
  const parameters = signature.parameters;
  const symbol = parameters[Math.min(index, parameters.length - 1)];
  if (symbol === undefined) return undefined;
  const declaration = symbol.valueDeclaration;
  if (declaration === undefined || !ts.isParameter(declaration)) return checker.getTypeOfSymbolAtLocation(symbol, call);
  const type = checker.getTypeAtLocation(declaration);
  if (declaration.dotDotDotToken === undefined) return type;
  return checker.getIndexTypeOfType(type, ts.IndexKind.Number);
}
