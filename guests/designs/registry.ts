/** Designs by name; a design is added by one line here and one entry in ../catalog.json. */
import type { TeardownDesign } from './design.js';
import { notifierAsync } from './notifier-async.js';

export const DESIGNS: readonly TeardownDesign[] = Object.freeze([notifierAsync]);

export const designByName = (name: string): TeardownDesign | undefined => DESIGNS.find((d) => d.name === name);
