/**
 * Where commands write, and how an error becomes a message and an exit code: each config error on
 * a line of its own, `Trouble` with its remedy. Any other error is a bug and is not caught here.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../clock.js";
import type { ConfigFault } from "../errors.js";
import { ConfigFaults, EXIT, Refusal, Trouble } from "../errors.js";
import type { Migration } from "../log/connection.js";
import { seldom } from "../log/migration-progress.js";
import { octets } from "../text.js";

/** Both write the text unchanged, line ends included. */
export interface Output {
  stdout(text: string): void;
  stderr(text: string): void;
}

/** The `onMigration` of a command that opens the log for writing: says it on stderr. */
export function tellMigration(out: Output): (migration: Migration) => void {
  return seldom(({ path, from, to, bytes, done, parts, isDone }) => {
    const what = isDone
      ? `has log version ${to} now`
      : done > 0
        ? `${done} of ${parts} parts are done`
        : `migrating ${octets(bytes)} from log version ${from} to ${to}; ` +
          "it may be interrupted, and then begins again";
    out.stderr(`kxgw: ${path}: ${what}\n`);
  }, systemClock);
}

/** Prints the error and returns the exit code; throws unexpected errors again. */
export function explain(error: unknown, out: Output): number {
  if (error instanceof ConfigFaults) {
    for (const fault of error.faults) out.stderr(`${faultLine(error.file, fault)}\n`);
    return EXIT.config;
  }
  if (error instanceof Trouble) {
    out.stderr(`kxgw: ${error.message}\n      ${error.remedy}\n`);
    return exitCodeOf(error);
  }
  if (error instanceof Refusal) {
    out.stderr(`kxgw: ${error.message}\n`);
    return EXIT.dataError;
  }
  const system = error as NodeJS.ErrnoException & { readonly address?: string };
  if (system.syscall === "listen" || system.code === "EADDRINUSE") {
    const { code, address } = system;
    const isPath = address?.startsWith("/") === true;
    const remedy = isPath ? socketRemedy(code, address) : listenRemedy(code);
    out.stderr(`kxgw: cannot listen: ${system.message}\n      ${remedy}\n`);
    return EXIT.unavailable;
  }
  throw error;
}

/**
 * A file that is not a log of ours means a wrong path in the config, which a restart does not fix
 * (systemd stops at 78). A log that another process holds is like a port in use.
 */
function exitCodeOf({ kind }: Trouble): number {
  switch (kind) {
    case "not-ours":
      return EXIT.config;
    case "busy":
    case "away":
      return EXIT.unavailable;
    case "disk-full":
    case "read-only":
    case "corrupt":
    case "unusable":
      return EXIT.ioError;
    default:
      return kind satisfies never;
  }
}

/** One error as `FILE:LINE:COLUMN: key: message`; position and key are optional. */
export function faultLine(file: string, { line, column, key, message }: ConfigFault): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return [place, key, message].filter((part) => part !== "").join(": ");
}

/** The same for a Unix socket. Node says EACCES also when the directory is missing. */
function socketRemedy(code: string | undefined, path: string): string {
  const directory = dirname(path);
  switch (code) {
    case "EADDRINUSE":
      return `Another program listens on ${path}, or it is no socket. Stop it, or remove the file.`;
    case "ENAMETOOLONG":
      return `The path has ${Buffer.byteLength(path)} bytes and may have 107: write a shorter one.`;
    default:
      return existsSync(directory)
        ? `The gateway's user must be able to create files in the directory ${directory}; a ` +
            "service of systemd also needs ReadWritePaths= or RuntimeDirectory= for it."
        : `The directory ${directory} does not exist. Create it for the gateway's user; systemd ` +
            "makes one in /run for RuntimeDirectory=, see deploy/kxgw.service.";
  }
}

export function listenRemedy(code: string | undefined): string {
  switch (code) {
    case "EADDRINUSE":
      return "Another program uses this address. Stop it or choose another port.";
    case "EACCES":
      return "Ports below 1024 need a privilege; see deploy/kxgw-smtp.socket.";
    case "ENOSOCKET":
      return "Start its .socket unit; NAME in systemd:NAME must be its FileDescriptorName.";
    case "EADDRNOTAVAIL":
      return "This host does not have this address.";
    default:
      return "Check the listen addresses in the config.";
  }
}
