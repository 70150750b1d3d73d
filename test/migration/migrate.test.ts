/** From the files of other keyservers to a config: what is read, what is kept, what is told. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";
import { tomlList, tomlString } from "../../src/config/toml-string.js";
import { Refusal } from "../../src/errors.js";
import type { Source } from "../../src/migration/directive.js";
import type { Kind } from "../../src/migration/draft.js";
import { translate } from "../../src/migration/recognise.js";
import { render } from "../../src/migration/render.js";

const CONFIGS = "test/fixtures/configs";

function fixture(...path: string[]): Source {
  return { name: path.at(-1) ?? "", text: readFileSync(join(CONFIGS, ...path), "utf8") };
}

function migrated(sources: readonly Source[], asked: { kind?: Kind; site?: string } = {}) {
  const { kind, site } = asked;
  const draft = translate(sources, { kind, site, directory: "/srv/ks" });
  const text = render(draft);
  return { draft, text, config: parseConfig(text, "kxgw.toml", "/srv", {}) };
}

const one = (name: string, text: string) => migrated([{ name, text }]);

describe("a pksd.conf", () => {
  const { draft, text, config } = migrated([fixture("pksd", "pksd.conf")]);

  it("gives who we are, the neighbours and where pksd takes its mails", () => {
    expect(config).toMatchObject({
      mode: "observe",
      site: { address: "pgp-public-keys@pks.example.org", contact: "keymaster@pks.example.org" },
      local: {
        type: "pksd",
        directory: "/var/spool/pks/incoming",
        url: "http://127.0.0.1:11371",
        notify: undefined,
        address: "pgp-public-keys@pks.example.org",
      },
      neighbours: [
        { name: "keys-example-net", mail: "pgp-public-keys@keys.example.net", via: "mail" },
        { name: "pks-example-com", mail: "pgp-public-keys@pks.example.com" },
        { name: "pksd", mail: undefined, acceptFrom: ["127.0.0.1", "::1"] },
      ],
    });
  });

  it.each([
    ["mail_dir /s\nwww_port 80\nwww_port 11381", "http://127.0.0.1:11381"],
    ["mail_dir /s\nwww_port 11371\nwww_addr 192.0.2.7", "http://192.0.2.7:11371"],
    ["mail_dir /s\nwww_port 11371\nwww_addr 0.0.0.0", "http://127.0.0.1:11371"],
    ["mail_dir /s\nwww_port 65536", undefined],
    ["mail_dir /s\nwww_port 0", undefined],
    ["mail_dir /s\nwww_port many", undefined],
    ["mail_dir /s", undefined],
    ["www_port 11371", undefined],
  ])("gives where pksd answers lookups: %j", (lines, url) => {
    const all = `this_site a@b.example\n${lines}\n`;
    const { config: made, draft: drawn } = one("pksd.conf", all);
    expect(made.local?.url).toBe(url);
    // Every line is accounted for.
    expect(drawn.taken.length + drawn.left.length).toBe(all.trim().split("\n").length);
  });

  it("says of each line where it comes from", () => {
    expect(text).toContain('url = "http://127.0.0.1:11371"   # pksd.conf:5 www_port; keys are');
    expect(text).toMatch(/^mail = "pgp-public-keys@keys.example.net" +# pksd.conf:17 syncsite$/m);
    expect(text).toMatch(/^# accept_from = .*host -t MX keys.example.net$/m);
    expect(text).toContain('# bounce = "pks-bounces@pks.example.org"   # pksd.conf:9');
    expect(text).toContain('"/var/run/pks/pksd_socket", "mail {}"]');
  });

  it("lists what it leaves, with the reason, and shows no value of what it does not know", () => {
    const left = Object.fromEntries(draft.left.map(({ place, kind, why }) => [place, [kind, why]]));
    expect(left["pksd.conf:19"]).toEqual(["by-hand", expect.stringContaining("pksd.conf:17")]);
    expect(left["pksd.conf:20"]).toEqual(["by-hand", "is our own address and not a neighbour"]);
    expect(left["pksd.conf:21"]?.[1]).toContain("is not a mail address");
    expect(left["pksd.conf:26"]).toEqual([
      "unknown",
      "unknown directive; did you mean www_readonly?",
    ]);
    expect(text).toContain("#   pksd.conf:27: frobnicate: unknown directive");
    expect(JSON.stringify(draft) + text).not.toContain("secret-word");
    const lines = draft.left.map(({ place }) => Number(place.replace(/.*:/, "")));
    expect(lines).toEqual(lines.toSorted((a, b) => a - b));
    // Everything is accounted for: 24 lines that say something.
    expect(draft.taken.length + draft.left.length - 1).toBe(24);
  });
});

describe("a pksd.conf with the KX patch of 2003", () => {
  const { draft, text, config } = migrated([fixture("pksd-kx", "pksd.conf")]);

  it("gives where KX is spoken, and the KX peers", () => {
    expect(config.kx?.listen).toEqual([{ host: "192.0.2.10", port: 11_399 }]);
    const peer = (name: string, host: string, port: number) => ({
      ...{ name, via: "kx", mail: undefined, dial: true, kx: { host, port } },
    });
    expect(config.neighbours).toMatchObject([
      {
        ...peer("keys-example-net", "keys.example.net", 11_399),
        ...{ mail: "pgp-public-keys@keys.example.net", via: "both" },
      },
      { name: "pks-example-com", via: "mail", kx: undefined, dial: false },
      peer("kx-example-edu", "kx.example.edu", 11_400),
      peer("2001-db8--1", "2001:db8::1", 11_399),
      peer("2001-db8--2", "2001:db8::2", 11_401),
      { name: "pksd", acceptFrom: ["127.0.0.1", "::1"] },
    ]);
    expect(text).toContain('kx = "keys.example.net:11399"   # pksd.conf:13 tcp_syncsite');
    expect(text).toContain(
      'listen = ["192.0.2.10:11399"]   # pksd.conf:11 tcp_syncaddr, pksd.conf:12 tcp_syncport',
    );
    expect(text).toContain("# Remove tcp_sync* from pksd.conf before the gateway starts");
  });

  it("leaves what the gateway does not need, and says what it does not understand", () => {
    const left = Object.fromEntries(draft.left.map(({ place, kind, why }) => [place, [kind, why]]));
    expect(left["pksd.conf:17"]).toEqual([...["by-hand", "the same endpoint is in pksd.conf:15"]]);
    expect(left["pksd.conf:18"]).toEqual(["by-hand", expect.stringContaining("HOST PORT")]);
    expect(left["pksd.conf:19"]).toEqual(["unneeded", expect.stringContaining("its own log")]);
    expect(left["pksd.conf:20"]).toEqual(["unneeded", expect.stringContaining("standard output")]);
    expect(text).not.toContain("somewhere else");
  });

  it.each([
    ["tcp_syncport 11399", [{ host: "0.0.0.0", port: 11_399 }], "h.example:11399"],
    ["tcp_syncaddr 2001:db8::9", [{ host: "2001:db8::9", port: 11_373 }], "h.example:11373"],
    ["tcp_syncaddr 192.0.2.1\ntcp_syncaddr ::1", [{ host: "::1", port: 11_373 }], undefined],
    ["tcp_syncport many", [{ host: "127.0.0.1", port: 11_373 }], "h.example:11373"],
    ["tcp_syncport 0", [{ host: "127.0.0.1", port: 11_373 }], "h.example:11373"],
  ])("%j", (lines, listen, peer) => {
    const all = `this_site a@b.example\n${lines}\ntcp_syncsite h.example\n`;
    const { config: made, draft: drawn } = one("pksd.conf", all);
    expect(made.kx?.listen).toEqual(listen);
    expect(made.neighbours[0]?.kx).toMatchObject({ host: "h.example" });
    if (peer !== undefined) {
      const { host, port } = made.neighbours[0]?.kx ?? { host: "", port: 0 };
      expect(`${host}:${port}`).toBe(peer);
    }
    // Every line is accounted for.
    const lineCount = all.trim().split("\n").length;
    expect(drawn.taken.length + drawn.left.length).toBe(lineCount);
  });

  it("is known by its KX lines alone", () => {
    expect(one("x", "tcp_syncsite h.example\n").draft.kind).toBe("pksd");
  });
});

describe("the files of SKS", () => {
  const all = ["sksconf", "mailsync", "membership"];

  it("give the address in its quotes, the sites, the messages directory", () => {
    const { config, text, draft } = migrated(all.map((name) => fixture("sks", name)));
    expect(config.site.address).toBe("pgp-public-keys@sks.example.org");
    expect(config.local).toMatchObject({ type: "sks", directory: "/var/sks/messages" });
    expect(config.neighbours.map(({ mail }) => mail)).toEqual([
      ...["pgp-public-keys@keys.example.net", "pgp-public-keys@pks.example.com", undefined],
    ]);
    expect(text).toContain('# repair = "hkp://keys.example.com:21371"   # membership:2');
    expect(text).toMatch(
      /^# kx = "keys.example.net.*\n# repair = "hkp:\/\/keys.example.net:11371"/m,
    );
    const byHand = draft.left.filter(({ kind }) => kind === "by-hand").map(({ place }) => place);
    expect(byHand).toEqual(["mailsync:5", "membership:3"]);
  });

  it("as Debian ships them tell no address: a placeholder, told so", () => {
    const { config, text } = migrated(all.map((name) => fixture("debian-sks", name)));
    expect(config.site.address).toBe("pgp-public-keys@keyserver.invalid");
    expect(text).toContain("PLACEHOLDER");
    const given = migrated([fixture("debian-sks", "sksconf")], { site: "pgp@ks.example.org" });
    expect(given.config.site.address).toBe("pgp@ks.example.org");
    expect(given.text).not.toContain("NOBODY");
  });

  it("are read with IPv6 in every spelling", () => {
    const lines = [
      ...["2001:db8::1 11370", "[2001:DB8:0::2] 11380 # with brackets", "2001:db8::3"],
      ...["[2001:db8::4]:11390", "::ffff:192.0.2.5 11370", "ks.example.net:11370"],
      ...["ks.example.net many", "2001:db8::zz 11370", "2001:db8::6 70000", "a b c", "h 0"],
    ];
    const { draft, text } = migrated([
      { name: "sksconf", text: "hostname: ks.example.org\n" },
      { name: "membership", text: lines.join("\n") },
      { name: "mailsync", text: "a@ks.example.net\n# b@c.example\npgp@[IPv6:2001:db8::1]\n" },
    ]);
    expect(draft.repairs.map(({ value }) => value)).toEqual([
      ...["hkp://[2001:db8::1]:11371", "hkp://[2001:db8::2]:11381", "hkp://[2001:db8::3]:11371"],
      ...["hkp://[2001:db8::4]:11391", "hkp://192.0.2.5:11371", "hkp://ks.example.net:11371"],
    ]);
    const byHand = draft.left.filter(({ kind }) => kind === "by-hand").map(({ place }) => place);
    expect(byHand).toEqual([
      ...["membership:7", "membership:8", "membership:9", "membership:10", "membership:11"],
      "mailsync:3",
    ]);
    expect(text).toMatch(/^# kx = "ks.example.net.*\n# repair = "hkp:\/\/ks.example.net:11371"/m);
    expect(text).toContain('# repair = "hkp://[2001:db8::1]:11371"   # membership:1');
  });

  it("are found in their places", () => {
    const sksconf = { name: "sksconf", text: "hostname: ks.example.org" };
    const inPlace = (directory: string) =>
      render(translate([sksconf], { kind: undefined, site: undefined, directory }));
    expect(inPlace("/etc/sks")).toContain('directory = "/var/spool/sks/messages"');
    expect(inPlace("/var/sks")).toContain('directory = "/var/sks/messages"');
    expect(inPlace("/x")).toContain('address = "pgp-public-keys@ks.example.org"   # sksconf:1');
  });
});

describe("a keyserver that can be followed by recon", () => {
  /** The proposal without its comment signs, as a config reads it. */
  const proposed = (text: string) => {
    const lines = text.replace(/^# (\[\[recon\]\]|server = |hkp = )/gm, "$1");
    return parseConfig(lines, "kxgw.toml", "/etc/kxgw", {}).recon;
  };
  const sks = (text: string) =>
    migrated([{ name: "sksconf", text: `hostname: ks.example.org\n${text}` }]).text;

  it.each([
    ["SKS", sks(""), "127.0.0.1:11370", "http://127.0.0.1:11371"],
    [
      ...(["SKS on other ports", sks("recon_port: 12370\nhkp_port: 12371\n")] as const),
      ...(["127.0.0.1:12370", "http://127.0.0.1:12371"] as const),
    ],
    [
      ...(["SKS on an address", sks('recon_address: "2001:db8::1 192.0.2.1"\n')] as const),
      ...(["[2001:db8::1]:11370", "http://127.0.0.1:11371"] as const),
    ],
    [
      ...(["Hockeypuck", one("x.conf", '[hkp]\nbind = ":11371"\n').text] as const),
      ...(["127.0.0.1:11370", "http://127.0.0.1:11371"] as const),
    ],
    [
      ...([
        "Hockeypuck on other ports",
        one("x.conf", '[hkp]\nbind = ":80"\n[conflux.recon]\nreconAddr = "[::1]:12370"\n').text,
      ] as const),
      ...(["[::1]:12370", "http://127.0.0.1:80"] as const),
    ],
  ])("%s is proposed as a comment", (_, text, name, hkp) => {
    expect(parseConfig(text, "kxgw.toml", "/etc/kxgw", {}).recon).toEqual([]);
    expect(proposed(text)).toMatchObject([{ name, hkp, start: "now" }]);
  });

  it("SKS is to let the gateway in first", () => {
    expect(sks("")).toContain('SKS needs the line "127.0.0.1 1" in its membership file');
  });
});

describe("an onak.ini", () => {
  it("as Debian ships it", () => {
    const { config, draft, text } = migrated([fixture("debian-onak", "onak.ini")]);
    // The addresses in it are those of onak's author.
    expect(config).toMatchObject({
      site: { address: "pgp-public-keys@keyserver.invalid" },
      local: { type: "command" },
    });
    expect(text).toContain('command = ["/usr/lib/x86_64-linux-gnu/onak/onak-mail.pl"]');
    expect(text).toContain('# repair = "hkp://the.earth.li"');
    const why = (address: string) =>
      `"${address}" is the sample of the distribution: write your own address`;
    expect(draft.left.filter(({ kind }) => kind !== "unneeded")).toEqual([
      {
        ...{ key: "maintainer_email", place: expect.stringMatching(/onak\.ini:\d+$/) },
        ...{ kind: "by-hand", why: why("pgp-keyserver-admin@the.earth.li") },
      },
      {
        ...{ key: "this_site", place: expect.stringMatching(/onak\.ini:\d+$/) },
        ...{ kind: "by-hand", why: why("pgp-public-keys@the.earth.li") },
      },
    ]);
  });

  it("with what is commented out there, and the onak.conf of old", () => {
    const { config, text } = one(
      "onak.ini",
      "[verification]\nblacklist=/etc/onak/evil32\nupdate_only=true\n" +
        "[mail]\nthis_site=a@b.example\nsyncsite=c@d.example\nsyncsite=c@e.d.example\n",
    );
    expect(config.neighbours.map(({ name }) => name)).toEqual(["d-example", "e-d-example", "onak"]);
    expect(text).toContain('# blocklist = "/etc/onak/evil32"   # onak.ini:2; the same format');
    expect(text).toContain("# new_keys = false   # onak.ini:3");
    const old = one("onak.conf", "this_site a@b.example\nmail_dir /var/spool/onak\n");
    expect(old.draft.kind).toBe("onak");
    expect(old.config.local).toBeUndefined();
  });
});

describe("a hockeypuck.conf", () => {
  const { config, draft, text } = migrated([fixture("hockeypuck", "hockeypuck.conf")]);

  it("gives the keyserver beside us, its mail sites, its limits", () => {
    expect(config).toMatchObject({
      site: { address: "pgp-public-keys@hkp.example.org" },
      outbound: { relay: "smtp://mail.example.org:587" },
      local: { type: "hkp", url: "http://127.0.0.1:11371" },
      hkp: { listen: [{ host: "127.0.0.1", port: 11372 }] },
      policy: { maxUpdateBytes: 524_288, maxPacketBytes: 16_384 },
    });
    expect(config.neighbours.map(({ mail }) => mail)).toEqual([
      ...["pgp-public-keys@pks.example.com", "pgp-public-keys@keys.example.net", undefined],
    ]);
    expect(text).toContain("#   00112233445566778899AABBCCDDEEFF00112233 blocked by hockeypuck");
    expect(text).toContain('# repair = "hkp://sks.example.net:11371"   # hockeypuck.conf:44');
  });

  it("keeps its passwords to itself", () => {
    const told = `${JSON.stringify(draft.left)}${text}`;
    expect(told).not.toMatch(/correct horse|staple/);
    expect(text).toContain("hockeypuck.conf:22: pks.smtp.pass: not copied");
  });

  it("is read without its outer table, and on another address", () => {
    const bare = one("x.conf", '[hkp]\nbind = "[::1]:11381"\n[pks]\nfrom = "a@b.example"\n');
    expect(bare.draft.kind).toBe("hockeypuck");
    expect(bare.config.local).toMatchObject({ type: "hkp", url: "http://[::1]:11381" });
    expect(one("x.conf", '[hkp]\nbind = "nowhere"\n').config.local).toBeUndefined();
  });
});

describe("what is none of these", () => {
  it.each([
    ["prose", "notes.txt", "Dear diary,\nnothing happened.\n", /is neither a pksd.conf/],
    [
      "a broken pksd.conf",
      "pksd.conf",
      "this_site a@b.example\n<xml>\n",
      /^pksd.conf:2: is not of/,
    ],
    ["a long line", "pksd.conf", `syncsite ${"x".repeat(2000)}`, /^pksd.conf:1: is longer than/],
    ["a broken onak.ini", "onak.ini", "[mail]\nthis_site=x\nsyncsite\n", /^onak.ini:3: is not of/],
    ["a broken sksconf", "sksconf", "hostname: a\nmailsync\n", /^sksconf:2: is not of the form/],
    ["broken TOML", "hockeypuck.conf", "[hockeypuck]\nx = \n", /^hockeypuck.conf:2: is not TOML/],
    ["a template", "hockeypuck.conf", "[hkp]\n{{if .X}}\n", /it is a template: expand/],
  ])("%s", (_, name, text, words) => {
    expect(() => one(name, text)).toThrow(Refusal);
    expect(() => one(name, text)).toThrow(words);
  });

  it("two keyservers at once", () => {
    const both = [fixture("sks", "sksconf"), fixture("pksd", "pksd.conf")];
    expect(() => migrated(both)).toThrow("migrate one keyserver at a time");
  });

  it("is taken for what the operator says it is", () => {
    const source = { name: "list", text: "# only this\n" };
    expect(migrated([source], { kind: "onak" }).draft.kind).toBe("onak");
    expect(one("a-list", "a@b.example\nc@d.example\n").draft.kind).toBe("sks");
  });
});

describe("any text", () => {
  const texts = fc.string({ unit: "binary", maxLength: 60 });

  it("survives as a TOML string", () => {
    fc.assert(
      fc.property(fc.array(texts, { maxLength: 4 }), (list) => {
        const whole = list.map((text) => Buffer.from(text).toString());
        const tree = parse(`a = ${tomlList(list)}\nb = ${tomlString(list[0] ?? "")}\n`);
        expect(tree).toEqual({ a: whole, b: whole[0] ?? "" });
      }),
    );
    expect(parse(`x = ${tomlString("half \ud800 a pair\u007f")}`)).toEqual({
      x: "half \ufffd a pair\u007f",
    });
  });

  it("in any directive makes a config that check accepts, or a refusal", () => {
    const key = fc.constantFrom(
      ...["this_site", "syncsite", "maintainer_email", "mail_dir", "pks_bin_dir", "socket_name"],
      ...["mail_delivery_client", "backends_dir", "blacklist", "mta", "from_addr", "basedir"],
      ...["hostname", "sendmail_cmd", "other", "tcp_syncaddr", "tcp_syncport", "tcp_syncsite"],
    );
    const value = fc.oneof(
      texts.map((text) => text.replace(/[\r\n]/g, "")),
      fc.emailAddress(),
      texts.map((text) => `/${text.replace(/[\r\n]/g, "")}`),
      fc.constantFrom('"A" <a@b.example>', "x -f a@b.example", "a@127.0.0.1", "/a/b/"),
      fc.tuple(fc.ipV6(), fc.nat(70_000)).map(([host, port]) => `${host} ${port}`),
      fc.oneof(fc.ipV4(), fc.domain(), fc.constantFrom("::1", "[::]", "fe80::1%eth0", "0")),
    );
    const lines = fc.array(fc.tuple(key, value), { maxLength: 8 });
    const forms = fc.constantFrom<[Kind, string]>(["pksd", " "], ["onak", "="], ["sks", ": "]);
    fc.assert(
      fc.property(lines, forms, (given, [kind, between]) => {
        const text = given.map(([name, says]) => `${name}${between}${says}`).join("\n");
        try {
          migrated([{ name: "file", text: `${text}\n` }], { kind });
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("as a value of a hockeypuck.conf likewise", () => {
    const host = fc.oneof(texts, fc.constantFrom(":1", "[::1]:2", "a.example:3", "0.0.0.0:0"));
    fc.assert(
      fc.property(host, texts, fc.array(texts), fc.integer(), (bind, from, to, size) => {
        const [name, place, list] = [tomlString(from), tomlString(bind), tomlList(to)];
        const text =
          `[hockeypuck.hkp]\nbind = ${place}\n[hockeypuck.pks]\nfrom = ${name}\nto = ${list}\n` +
          `smtp = { host = ${place} }\n[hockeypuck.openpgp]\nmaxKeyLength = ${size}\n` +
          `blacklist = ${list}\n[hockeypuck.conflux.recon.partner.${name}]\nhttpAddr = ${place}\n`;
        const files = [{ name: "hockeypuck.conf", text }];
        expect(() => migrated(files, { kind: "hockeypuck" })).not.toThrow();
      }),
      { numRuns: 200 },
    );
  });
});
