/** The corpus for the mail tests: real mails and keys by file name, as they lie on disk. */
import { readdirSync, readFileSync } from "node:fs";

const ROOM = new URL("../fixtures/", import.meta.url);

export const mailNames = readdirSync(new URL("mails/", ROOM)).sort();
export const keyNames = readdirSync(new URL("keys/", ROOM)).sort();

/** Raw bytes of test/fixtures/mails/NAME.eml, LF line ends. */
export function mail(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`mails/${name}.eml`, ROOM)));
}

/** Armor of one key file of `keyNames`. */
export function keyArmor(fileName: string): string {
  return readFileSync(new URL(`keys/${fileName}`, ROOM), "latin1");
}

/** Bytes of a file directly in test/fixtures. */
export function fixture(fileName: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(fileName, ROOM)));
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "latin1"));
}

export function text(raw: Uint8Array): string {
  return Buffer.from(raw).toString("latin1");
}

/** What a mail server hands to a pipe: LF line ends. */
export function delivered(wire: Uint8Array): Uint8Array {
  return bytes(text(wire).replaceAll("\r\n", "\n"));
}
