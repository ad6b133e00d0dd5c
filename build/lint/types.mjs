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
 * The signature that a call resolves to, as the callee declares it: what the receiver's type says is filled in
 * (`T` of the array on which `push` is called), what this call alone infers is not.
 * @param {ts.TypeChecker} checker
 * @param {ts.CallExpression | ts.NewExpression} call
 * @returns {ts.Signature | undefined}
 */
function declaredSignature(checker, call) {
  const resolved = checker.getResolvedSignature(call);
  if (resolved === undefined || call.typeArguments !== undefined) return resolved;
  const callee = checker.getNonNullableType(checker.getTypeAtLocation(call.expression));
  const all = ts.isNewExpression(call) ? callee.getConstructSignatures() : callee.getCallSignatures();
  const declaration = resolved.getDeclaration();
  return all.find((s) => s.getDeclaration() === declaration) ?? resolved;
}

/**
 * The type of one parameter before the call's own inference: an argument that gives a generator would otherwise pass
 * as whatever `T` the call infers from it.
 * @param {ts.TypeChecker} checker
 * @param {ts.CallExpression | ts.NewExpression} call
 * @param {number} index
 * @returns {ts.Type | undefined}
 */
export function declaredParameter(checker, call, index) {
  const parameters = declaredSignature(checker, call)?.parameters ?? [];
  const symbol = parameters[Math.min(index, parameters.length - 1)];
  if (symbol === undefined) return undefined;
  const type = checker.getTypeOfSymbolAtLocation(symbol, call);
  const declaration = symbol.valueDeclaration;
  const rest = declaration !== undefined && ts.isParameter(declaration) && declaration.dotDotDotToken !== undefined;
  return rest ? checker.getIndexTypeOfType(type, ts.IndexKind.Number) : type;
}
