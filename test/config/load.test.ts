/**
 * Files that are in order: the whole example, the defaults, the environment over the file, and the
 * built-in configuration. What is at fault is in `faults.test.ts`.
 */
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { embeddedConfig } from "../../src/config/embedded.js";
import { loadConfig, parseConfig } from "../../src/config/load.js";
import { configSchema } from "../../src/config/schema.js";
import { ConfigFaults } from "../../src/errors.js";
import { scratchOfFile } from "../support/scratch.js";
import { DEFAULT_POLICY, EXAMPLE, EXAMPLE_CONFIG } from "./example.js";

const FILE = "/etc/kxgw/kxgw.toml";
const MINIMAL = '[site]\naddress = "a@b.example"\n[log]\n';

const read = (text: string, env: Record<string, string | undefined> = {}) =>
  parseConfig(text, FILE, "/etc/kxgw", env);

describe("parseConfig", () => {
  it("reads the example to exactly what it says", () => {
    expect(read(EXAMPLE)).toStrictEqual(EXAMPLE_CONFIG);
  });

  it("reads line ends of Windows and a byte order mark", () => {
    expect(read(`\ufeff${EXAMPLE.replaceAll("\n", "\r\n")}`)).toStrictEqual(EXAMPLE_CONFIG);
  });

  it("freezes all of it", () => {
    const config = read(EXAMPLE);
    const thaw = (value: unknown): string[] => {
      if (typeof value !== "object" || value === null) return [];
      const inner = Object.values(value).flatMap(thaw);
      return Object.isFrozen(value) ? inner : [JSON.stringify(value), ...inner];
    };
    expect(thaw(config)).toEqual([]);
    expect(() => Object.assign(config.site, { address: "x" })).toThrow(TypeError);
  });

  it("builds no section that the file leaves out", () => {
    expect(read(MINIMAL)).toStrictEqual({
      file: FILE,
      mode: "bridge",
      site: { address: "a@b.example", contact: "a@b.example" },
      log: {
        path: "/etc/kxgw/updates.db",
        retainMs: 345_600_000,
        rememberMs: 2_592_000_000,
        holdBytes: 1_073_741_824,
        shared: undefined,
        sharedPasswordFile: undefined,
        node: undefined,
      },
      smtp: undefined,
      spool: undefined,
      hkp: undefined,
      kx: undefined,
      outbound: undefined,
      local: undefined,
      admin: undefined,
      policy: DEFAULT_POLICY,
      neighbours: [],
      recon: [],
    });
  });

  it("fills in the defaults of an empty section", () => {
    const config = read(`${MINIMAL}[smtp]\n[kx]\n[outbound]\n[admin]\n`);
    const { smtp, kx, outbound, admin } = EXAMPLE_CONFIG;
    expect(config.smtp).toStrictEqual({ ...smtp, hostname: "b.example" });
    expect(config.kx).toStrictEqual(kx);
    expect(config.outbound).toStrictEqual({ ...outbound, bounce: undefined });
    expect(config.admin).toStrictEqual(admin);
  });

  it.each([
    ['mail = "k@old.example"', "mail"],
    ['kx = "ks.example:11373"', "kx"],
    ['kx = "ks.example:11373"\nmail = "k@old.example"', "mail"],
    ['kx = "ks.example:11373"\nmail = "k@old.example"\nvia = "kx"', "kx"],
    ['accept_from = ["192.0.2.1", "2001:db8::/32"]', "mail"],
    ['accept_from = ["192.0.2.1"]\nvia = "mail"', "mail"],
    ['mail = "k@old.example"\naccept_from = []', "mail"],
    ['kx = "ks.example:11373"\naccept_from = ["192.0.2.1"]', "kx"],
    ['kx = "127.0.0.2:0"', "kx"],
  ])("takes a neighbour with %j by the road %s", (keys, via) => {
    const { neighbours } = read(`${MINIMAL}[[peer]]\nname = "n"\n${keys}\n`);
    expect(neighbours.map((neighbour) => neighbour.via)).toEqual([via]);
  });

  it("allows what only looks like a collision", () => {
    const config = read(
      `${MINIMAL}[smtp]\nlisten = ["127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:25", "[::1]:25"]\n` +
        '[kx]\nlisten = ["127.0.0.2:25"]\n' +
        '[[peer]]\nname = "a"\nkx = "h.example:1"\n[[peer]]\nname = "A"\nkx = "h.example:2"\n',
    );
    expect(config.smtp?.listen).toHaveLength(4);
    expect(config.neighbours).toHaveLength(2);
  });

  it("keeps an absolute log path and the password of the relay", () => {
    const config = read(
      '[site]\naddress = "a@b"\n[log]\npath = "/srv/u.db"\n' +
        '[outbound]\nrelay = "smtps://me:s%40cret@[2001:db8::1]:465"\n',
    );
    expect(config.log.path).toBe("/srv/u.db");
    expect(config.outbound?.relay).toBe("smtps://me:s%40cret@[2001:db8::1]:465");
  });
});

describe("the environment", () => {
  it("goes over the file, and the file over the defaults", () => {
    const config = read(EXAMPLE, {
      KXGW_MODE: "observe",
      KXGW_LOG__RETAIN: "5d",
      KXGW_SMTP__LISTEN: "127.0.0.1:1, [::1]:2",
      KXGW_KX__LISTEN: "",
      KXGW_ADMIN__LISTEN: undefined,
      PATH: "/bin",
      kxgw_mode: "no variable of ours",
    });
    expect(config).toStrictEqual({
      ...EXAMPLE_CONFIG,
      mode: "observe",
      log: { ...EXAMPLE_CONFIG.log, retainMs: 432_000_000 },
      smtp: {
        ...EXAMPLE_CONFIG.smtp,
        listen: [
          { host: "127.0.0.1", port: 1 },
          { host: "::1", port: 2 },
        ],
      },
      kx: { ...EXAMPLE_CONFIG.kx, listen: [] },
    });
  });

  it("reaches every key of every section, and brings a section into being", () => {
    const config = read("", {
      KXGW_SITE__ADDRESS: "a@b.example",
      KXGW_SITE__CONTACT: "c@b.example",
      KXGW_LOG__PATH: "x.db",
      KXGW_LOG__RETAIN: "72h",
      KXGW_LOG__REMEMBER: "72h",
      KXGW_LOG__HOLD: "1MiB",
      KXGW_LOG__SHARED: "postgres://kx@db.example/kxgw?sslrootcert=db.pem",
      KXGW_LOG__SHARED_PASSWORD_FILE: "shared",
      KXGW_LOG__NODE: "kx1",
      KXGW_SMTP__LISTEN: "localhost:1",
      KXGW_SMTP__HOSTNAME: "h.example",
      KXGW_SMTP__MAX_SIZE: "1MiB",
      KXGW_SMTP__FRONT: "mx.b.example:25",
      KXGW_SMTP__SOCKET_MODE: "600",
      KXGW_SPOOL__WATCH: "in, /srv/spool",
      KXGW_SPOOL__EVERY: "1s",
      KXGW_SPOOL__KEEP_REFUSED: "7d",
      KXGW_HKP__LISTEN: "localhost:4",
      KXGW_HKP__OPEN: "true",
      KXGW_HKP__STRANGER_RATE: "5/1h",
      KXGW_HKP__MAX_SIZE: "1MiB",
      KXGW_LOCAL__TYPE: "hkp",
      KXGW_LOCAL__URL: "http://localhost:5/",
      KXGW_LOCAL__ADDRESS: "l@b.example",
      KXGW_LOCAL__KIND: "onak",
      KXGW_LOCAL__MAX_MAIL: "64KiB",
      KXGW_LOCAL__RETRY: "1s",
      KXGW_KX__LISTEN: "localhost:2",
      KXGW_KX__SOURCE: "192.0.2.1",
      KXGW_KX__RECONNECT: "1s, 2s*2",
      KXGW_OUTBOUND__RELAY: "smtp://relay.example",
      KXGW_OUTBOUND__RELAY_PASSWORD_FILE: "password",
      KXGW_OUTBOUND__BOUNCE: "d@b.example",
      KXGW_OUTBOUND__RETRY: "1m",
      KXGW_OUTBOUND__CA: "ca.pem",
      KXGW_ADMIN__LISTEN: "localhost:3",
      KXGW_ADMIN__NAMES: "kx.example.org, ops.example.org",
    });
    expect(config).toStrictEqual({
      file: FILE,
      mode: "bridge",
      site: { address: "a@b.example", contact: "c@b.example" },
      log: {
        path: "/etc/kxgw/x.db",
        retainMs: 259_200_000,
        rememberMs: 259_200_000,
        holdBytes: 1_048_576,
        shared: {
          hosts: [{ host: "db.example", port: 5432 }],
          ...{ database: "kxgw", user: "kx", password: undefined },
          tls: { ca: "/etc/kxgw/db.pem" },
        },
        sharedPasswordFile: "/etc/kxgw/shared",
        node: "kx1",
      },
      smtp: {
        listen: [{ host: "localhost", port: 1 }],
        inherited: [],
        sockets: [],
        socketMode: 0o600,
        hostname: "h.example",
        maxSizeBytes: 1_048_576,
        front: { host: "mx.b.example", port: 25 },
        tls: undefined,
      },
      spool: { watch: ["/etc/kxgw/in", "/srv/spool"], everyMs: 1000, keepRefusedMs: 604_800_000 },
      hkp: {
        listen: [{ host: "localhost", port: 4 }],
        open: true,
        strangerRate: { count: 5, periodMs: 3_600_000 },
        maxSizeBytes: 1_048_576,
      },
      kx: {
        listen: [{ host: "localhost", port: 2 }],
        source: "192.0.2.1",
        reconcile: "off",
        reconnect: [1000, 2000, 2000],
        tls: undefined,
      },
      outbound: {
        relay: "smtp://relay.example",
        relayPasswordFile: "/etc/kxgw/password",
        bounce: "d@b.example",
        retry: [60_000],
        ca: "/etc/kxgw/ca.pem",
      },
      local: {
        type: "hkp",
        url: "http://localhost:5",
        address: "l@b.example",
        kind: "onak",
        maxMailBytes: 65_536,
        retry: [1000],
      },
      admin: {
        listen: { host: "localhost", port: 3 },
        names: ["kx.example.org", "ops.example.org"],
        publicStatus: false,
      },
      policy: DEFAULT_POLICY,
      neighbours: [],
      recon: [],
    });
  });

  it("mends a fault of the file", () => {
    const text = '[site]\naddress = "a@b"\n[log]\nretain = "1h"\n';
    expect(() => read(text)).toThrow(ConfigFaults);
    expect(read(text, { KXGW_LOG__RETAIN: "80h" }).log.retainMs).toBe(288_000_000);
  });
});

describe("embeddedConfig", () => {
  it("stays on loopback, with its data below the directory, and takes mail of this host", () => {
    expect(embeddedConfig("/srv/kx", {})).toStrictEqual({
      ...EXAMPLE_CONFIG,
      file: undefined,
      site: { address: "pgp-public-keys@localhost", contact: "pgp-public-keys@localhost" },
      log: { ...EXAMPLE_CONFIG.log, path: "/srv/kx/data/updates.db" },
      smtp: { ...EXAMPLE_CONFIG.smtp, hostname: "localhost" },
      outbound: undefined,
      neighbours: [
        expect.objectContaining({
          ...{ name: "me", acceptFrom: ["127.0.0.1", "::1"] },
          ...{ mail: undefined, kx: undefined },
        }),
      ],
      recon: [],
    });
  });

  it("listens to the environment", () => {
    expect(embeddedConfig("/srv", { KXGW_MODE: "observe" }).mode).toBe("observe");
    expect(() => embeddedConfig("/srv", { KXGW_MODE: "x" })).toThrow("(built-in): 1 fault");
  });
});

describe("loadConfig", () => {
  const directory = scratchOfFile();
  const write = (name: string, data: string | Uint8Array) => {
    const file = join(directory, name);
    writeFileSync(file, data);
    return file;
  };
  const faultsOf = (file: string) => {
    try {
      loadConfig(file, {});
    } catch (error) {
      if (error instanceof ConfigFaults) return error.faults;
      throw error;
    }
    return [];
  };

  it("takes relative paths from the directory of the file", () => {
    const config = loadConfig(write("ok.toml", EXAMPLE), {});
    expect(config.file).toBe(join(directory, "ok.toml"));
    expect(config.log.path).toBe(join(directory, "updates.db"));
  });

  it.each([
    ["no file", () => join(directory, "none.toml"), "no such file"],
    ["a directory", () => directory, "is a directory"],
    ["another encoding", () => write("latin.toml", Buffer.from([0x23, 0xfc])), "not UTF-8"],
    ["a large file", () => write("big.toml", new Uint8Array(1_048_577)), "larger than 1 MiB"],
    [
      "a loop of links",
      () => {
        symlinkSync("loop.toml", join(directory, "loop.toml"));
        return join(directory, "loop.toml");
      },
      "ELOOP",
    ],
  ])("says so when it finds %s", (_, make, message) => {
    expect(faultsOf(make())).toStrictEqual([
      { line: undefined, column: undefined, key: "", message: expect.stringContaining(message) },
    ]);
  });
});

describe("the schema", () => {
  it("gives a JSON schema with a description for every key", () => {
    const schema = z.toJSONSchema(configSchema, { io: "input" });
    const keys = (node: unknown, path: string): string[] => {
      const { properties, items } = node as { properties?: object; items?: object };
      const inner = properties ?? (items as { properties?: object } | undefined)?.properties ?? {};
      return Object.entries(inner).flatMap(([key, child]) => [
        `${path}${key}: ${(child as { description?: string }).description ?? "NONE"}`,
        ...keys(child, `${path}${key}.`),
      ]);
    };
    const all = keys(schema, "");
    expect(all.filter((line) => line.endsWith("NONE") && !/^(peer|recon):/.test(line))).toEqual([]);
    expect(all.length).toBeGreaterThanOrEqual(39);
    expect(schema.required).toEqual(["site", "log"]);
  });
});
