/**
 * The built-in configuration of a gateway without a config file, to try it: listeners on loopback,
 * data in ./data, no outgoing mail, and one neighbour, so that programs of this host may send. It
 * passes the same schema, rules and environment as a file.
 */
import type { Config } from "./config.js";
import type { Environment } from "./environment.js";
import { buildConfig } from "./load.js";

/** The built-in configuration below `directory`. Throws `ConfigFaults` for a bad environment. */
export function embeddedConfig(directory: string, env: Environment): Config {
  const tree = {
    site: { address: "pgp-public-keys@localhost" },
    log: { path: "data/updates.db" },
    smtp: { listen: ["127.0.0.1:2525"] },
    kx: { listen: ["127.0.0.1:11373"] },
    admin: { listen: "127.0.0.1:9627" },
    peer: [{ name: "me", accept_from: ["127.0.0.1", "::1"] }],
  };
  return buildConfig(tree, () => new Map(), "(built-in)", undefined, directory, env);
}
