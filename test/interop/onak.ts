/**
 * onak as a legacy site of our own: config and database in one directory, mail in through
 * onak-mail.pl from an alias pipe. The script reads /etc/onak.ini only, so it is copied with that
 * one path changed. The pipe runs as nobody, and so do we when we ask the database.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { chown, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { NOBODY, run } from "./daemon.js";

export class Onak {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Sets one up in `directory`, which is made. There is no daemon: a mail starts what it needs. */
  static async setUp(
    directory: string,
    site: {
      readonly address: string;
      readonly syncSites: readonly string[];
      readonly sendmail: string;
    },
  ): Promise<Onak> {
    for (const path of ["", "db", "spool", "bin"]) {
      await mkdir(join(directory, path), { recursive: true });
      await chown(join(directory, path), NOBODY.uid, NOBODY.gid);
    }
    const library = libraryDirectory();
    const config = `[main]
backend=defaultdb4
backends_dir=${library}/backends
logfile=${directory}/onak.log
loglevel=2
use_keyd=false
sock_dir=${directory}
max_reply_keys=128
[verification]
check_sighash=true
drop_v3=true
[mail]
maintainer_email=PGP Key Server Administrator <admin@onak.example.net>
mail_dir=${directory}/spool
mta=${site.sendmail} -t -oi
bin_dir=${directory}/bin
this_site=${site.address}
${site.syncSites.map((address) => `syncsite=${address}\n`).join("")}
[backend:defaultdb4]
type=db4
location=${directory}/db
`;
    writeFileSync(join(directory, "onak.ini"), config);
    const script = readFileSync(join(library, "onak-mail.pl"), "latin1")
      .replaceAll("/etc/onak.conf", join(directory, "there-is-no-onak.conf"))
      .replaceAll("/etc/onak.ini", join(directory, "onak.ini"));
    writeFileSync(join(directory, "bin", "onak-mail.pl"), script, { mode: 0o755 });
    const wrapper = `#!/bin/sh\nexec /usr/bin/onak -c ${directory}/onak.ini "$@"\n`;
    writeFileSync(join(directory, "bin", "onak"), wrapper, { mode: 0o755 });
    return new Onak(directory);
  }

  /** What an alias pipes mail into, for an onak in `directory`. */
  static pipe(directory: string): string {
    return join(directory, "bin", "onak-mail.pl");
  }

  /** The armored key that it holds, undefined when it has none. */
  get(fingerprint: string): string | undefined {
    const program = join(this.#directory, "bin", "onak");
    const answer = run("/bin/sh", ["-c", `${program} get 0x${fingerprint} || true`], NOBODY);
    return answer.includes("BEGIN PGP PUBLIC KEY BLOCK") ? answer : undefined;
  }

  log(): string {
    return readFileSync(join(this.#directory, "onak.log"), "latin1");
  }
}

/** Where the package has its backends and its mail script; it differs by architecture. */
function libraryDirectory(): string {
  const script = run("dpkg", ["-L", "onak"])
    .split("\n")
    .find((path) => path.endsWith("/onak-mail.pl"));
  if (script === undefined) throw new Error("the onak package has no onak-mail.pl");
  return dirname(script);
}
