#!/usr/bin/env node
/**
 * The process: runs the command that the arguments name and exits with its code (sysexits).
 * Commands are one file each in cli/ and return their code; their table is cli/program.ts. Only
 * this file and signals end the process.
 */
import { CommanderError } from "commander";
import type { Output } from "./cli/output.js";
import { checkWords, programOf } from "./cli/program.js";
import { EXIT } from "./errors.js";

const out: Output = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
};

// A reader that closes the pipe, as in `kxgw log | head`, is not an error.
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
  if (!checkWords(program, process.argv.slice(2))) await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  // The error is printed. Commander's own codes are 0, of --help and --version, and 1.
  process.exitCode = error.exitCode === 1 ? EXIT.usage : error.exitCode;
}
