#!/usr/bin/env node
/**
 * The process: arguments to a command, a command to an exit code (sysexits). Commands are one file
 * each in cli/ and return their code; their table is cli/program.ts, and only this file ends the
 * process.
 */
import { CommanderError } from "commander";
import type { Output } from "./cli/output.js";
import { programOf } from "./cli/program.js";
import { EXIT } from "./errors.js";

const out: Output = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
};

// `kxgw log | head` has seen enough: a reader that closes the pipe is no fault of anybody's.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? EXIT.ok);
  out.stderr(`kxgw: the output cannot be written: ${error.message}\n`);
  process.exit(EXIT.ioError);
});

process.on("uncaughtException", (error) => {
  out.stderr(`kxgw: this is a bug, please report it:\n${error.stack ?? String(error)}\n`);
  process.exit(EXIT.software);
});

const program = programOf(out);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // Commander has said what is wrong; --help and --version come this way with exit code 0.
  process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
}
