/**
 * Where commands write, and how an error becomes a message and an exit code: each config error on
 * a line of its own, `Trouble` with its remedy. Any other error is a bug and is not caught here.
 */
import type { ConfigFault } from "../errors.js";
import { ConfigFaults, EXIT, Refusal, Trouble } from "../errors.js";

/** Both write the text unchanged, line ends included. */
export interface Output {
  stdout(text: string): void;
  stderr(text: string): void;
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
  const system = error as NodeJS.ErrnoException;
  if (system.syscall === "listen" || system.code === "EADDRINUSE") {
    out.stderr(`kxgw: cannot listen: ${system.message}\n      ${listenRemedy(system.code)}\n`);
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

function listenRemedy(code: string | undefined): string {
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
