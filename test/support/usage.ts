/**
 * How the tools under test/ take their arguments: `--help` prints what there is and exits 0, an
 * argument that is not known is told with it and exits 64 (EX_USAGE), before anything runs.
 */

/** What `parse` reads from the command line; `usage` is the whole help. */
export function readArguments<T>(usage: string, parse: () => T): T {
  const given = process.argv.slice(2);
  if (given.includes("--help") || given.includes("-h")) {
    process.stdout.write(usage);
    process.exit(0);
  }
  try {
    return parse();
  } catch (error) {
    return wrongUsage(usage, error instanceof Error ? error.message : String(error));
  }
}

/** Says what is wrong and what there is, and ends the process. */
export function wrongUsage(usage: string, message: string): never {
  process.stderr.write(`${message}\n\n${usage}`);
  process.exit(64);
}
