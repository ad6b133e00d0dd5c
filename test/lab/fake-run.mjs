/** Stands in for the command line in tests of the soak: what it does is named by the scenario file. */
const [, , , file, ...flags] = process.argv;
const seed = Number(flags[flags.indexOf('--seed') + 1]);
const design = (/** @type {boolean} */ expected) => ({
  design: 'zap-pte',
  verdict: expected ? 'clean' : 'broken',
  expected,
  counters: { hypercalls: 10 },
});
if (file === 'hang') setInterval(() => undefined, 1000);
else if (file === 'crash') process.exit(3);
else {
  const expected = file === 'good' || seed % 2 === 1;
  process.stdout.write(JSON.stringify({ scenario: file, seed, designs: [design(expected)] }));
  process.exitCode = expected ? 0 : 1;
}
