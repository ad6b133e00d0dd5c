/** Designs that the recorded kernel can be compared with. Lock: none. */
/** Designs whose exits can be held against the recordings: those that live by notifiers, as the recorded kernel does. */
export const RECORDED_DESIGNS = Object.freeze(['notifier-async', 'notifier'] as const);
export const DEFAULT_DESIGN = RECORDED_DESIGNS[0];
