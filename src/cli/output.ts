/**
 * Where commands write, and how an error becomes words and an exit code: every fault of a config on
 * a line of its own, trouble with its remedy. Anything else is a bug and is not caught here.
 */
import type { ConfigFault } from "../errors.js";
import { ConfigFaults, EXIT, Refusal, Trouble } from "../errors.js";

/** Both take text that is written as it is, line ends included. */
export interface Output {
  stdout(text: string): void;
  stderr(text: string): void;
}

/** Says what is wrong and returns the exit code; throws what is a bug again. */
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
 * A log that is not ours is a wrong path in the config, which no restart cures (systemd stops at
 * 78); one that another process holds is as unavailable as a port in use.
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

/** One fault as `FILE:LINE:COLUMN: key: message`; position and key are left out when unknown. */
export function faultLine(file: string, { line, column, key, message }: ConfigFault): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return [place, key, message].filter((part) => part !== "").join(": ");
}

function listenRemedy(code: string | undefined): string {
  switch (code) {
    case "EADDRINUSE":
      return "Another program has that address; stop it or choose another port.";
    case "EACCES":
      return "Ports below 1024 need the right to bind them; see deploy/kxgw-smtp.socket.";
    case "ENOSOCKET":
      return "Is its .socket unit started, and is NAME in systemd:NAME its FileDescriptorName?";
    case "EADDRNOTAVAIL":
      return "This host does not have that address.";
    default:
      return "Check the listen addresses in the config.";
  }
}
