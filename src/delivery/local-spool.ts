/**
 * Leaves mails as files where the keyserver beside us looks for them: pksd's mail_dir, which
 * pks-queue-run.sh empties, and SKS's messages directory. A file appears under its name complete
 * and on disk, by rename, since both read whatever they find. Its name comes from the update, so
 * that a repetition after a crash replaces the file instead of adding one.
 *
 * Known limit: that the file is there is all that can be known; what the server makes of it stands
 * in its own log.
 */
import { open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Envelope } from "../outmail.js";
import type { DeliveryMethod, Outgoing, Part } from "./delivery-method.js";
import { localMails } from "./local-mail.js";
import { Program } from "./local-program.js";
import type { Outcome } from "./relay.js";

/** The server runs as somebody else, and keys are public. */
const FILE_MODE = 0o644;

export interface SpoolPlace {
  readonly directory: string;
  /** What the server takes for a mail. */
  readonly fileName: (name: string) => string;
  /** Run after each file, with "{}" for its path: pksdctl, where no pks-queue-run.sh runs. */
  readonly notify: readonly string[] | undefined;
}

export const pksdName = (name: string): string => `pks-mail.${name}`;
export const sksName = (name: string): string => `msg-${name}.ready`;

export class SpoolDelivery implements DeliveryMethod {
  readonly #place: SpoolPlace;
  readonly #envelope: Envelope;
  readonly #program = new Program();

  constructor(place: SpoolPlace, envelope: Envelope) {
    this.#place = place;
    this.#envelope = envelope;
  }

  parts(update: Outgoing, date: number): Part[] {
    return localMails(update, this.#envelope, date).map(({ name, text, ...marks }) => {
      return { bytes: text.length, ...marks, deliver: () => this.#leave(name, text) };
    });
  }

  close(): void {
    this.#program.close();
  }

  async #leave(name: string, text: Buffer): Promise<Outcome> {
    const { directory, fileName, notify } = this.#place;
    const path = join(directory, fileName(name));
    try {
      await writeWhole(directory, `.kxgw-${name}.tmp`, path, text);
    } catch (error) {
      // A full disk or a missing directory is nobody's refusal of this mail.
      const words = error instanceof Error ? error.message : String(error);
      return { kind: "temporary", about: "neighbour", code: undefined, words };
    }
    if (notify === undefined) return { kind: "delivered", how: "spooled", reply: path };
    return await this.#program.run(
      notify.map((word) => word.replaceAll("{}", path)),
      new Uint8Array(0),
    );
  }
}

async function writeWhole(
  directory: string,
  temporaryName: string,
  path: string,
  bytes: Buffer,
): Promise<void> {
  const temporary = join(directory, temporaryName);
  const file = await open(temporary, "w", FILE_MODE);
  try {
    await file.writeFile(bytes);
    await file.chmod(FILE_MODE);
    await file.sync();
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const parent = await open(directory, "r");
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
