/** `npm run generate`: makes the generated sources, so that the type checker and the linter see them. */
import { generate } from './wat.mjs';

const errors = await generate();
for (const e of errors) process.stderr.write(`${e}\n`);
process.exitCode = errors.length === 0 ? 0 : 1;
