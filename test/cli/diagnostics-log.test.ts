/**
 * The lines that an operator reads: JSON, journal and terminal; what is cut, escaped and shortened;
 * and that a whole gateway puts the id of an update on every line of its life.
 */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { LogForm } from "../../src/cli/diagnostics-log.js";
import { diagnosticsLog, formOf } from "../../src/cli/diagnostics-log.js";
import { REPEAT_LIMITS } from "../../src/cli/repeat-limit.js";
import type { EventName, Fields } from "../../src/diagnostics.js";
import { EVENTS, kindOf } from "../../src/diagnostics.js";
import { clientNetwork } from "../../src/ip-address.js";
import { armoredKeys, FEEDER, HEAD, startGateway } from "../admin/gateway.js";
import { scratch } from "../support/scratch.js";
import { until } from "../support/until.js";

const PROGRAM = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

function lines(form: LogForm, ...reports: [EventName, Fields?][]): string {
  let text = "";
  const destination = {
    write(part: string) {
      text += part;
    },
  };
  const log = diagnosticsLog("info", destination, form);
  for (const [event, fields] of reports) log.report(event, fields);
  return text;
}

describe("diagnostics", () => {
  it("are JSON with name, level and sentence", () => {
    const [line = "", ...more] = lines("json", ["accepted", { seq: 7 }], ["duplicate"]).split("\n");
    expect(JSON.parse(line)).toEqual({
      level: "info",
      time: expect.stringMatching(/^20\d\d-.*Z$/),
      event: "accepted",
      seq: 7,
      msg: "update accepted",
    });
    expect(more).toEqual([""]);
  });

  it("have the journal's priorities, one line each", () => {
    const fields = {
      neighbour: "old",
      words: '451 "busy"\nInjected: line',
      seq: 1,
      code: undefined,
    };
    expect(lines("journal", ["retry", fields], ["stalled"], ["accepted"], ["duplicate"])).toBe(
      "<4>retry: delivery failed temporarily; it is retried; neighbour=old " +
        'words="451 \\"busy\\"\\nInjected: line" seq=1\n' +
        "<3>stalled: delivery fails after the whole retry schedule; it is still retried\n" +
        "<6>accepted: update accepted\n",
    );
  });

  it("are pretty on a terminal, and let nobody paint it", () => {
    vi.stubEnv("FORCE_COLOR", "1");
    onTestFinished(() => void vi.unstubAllEnvs());
    const text = lines("terminal", ["retry", { words: "\x1b[2J\x07bell", list: ["a", "b"] }]);
    expect(text.replaceAll("\x1b", "")).toMatch(/^\[2m\d\d:\d\d:\d\d\[22m \[33mwarn \[39m retry: /);
    vi.stubEnv("FORCE_COLOR", undefined);
    vi.stubEnv("NO_COLOR", "1");
    expect(lines("terminal", ["retry", {}])).not.toContain("\x1b");
    expect(text).toContain('words="\\u001b[2J\\u0007bell" list=a,b\n');
  });

  it("are cut where somebody else wrote them, and keep no client's address", () => {
    const text = lines("json", [
      "mail-refused",
      { problem: "x".repeat(9000), client: "203.0.113.9" },
    ]);
    expect(text.length).toBeLessThan(700);
    expect(text).toContain('"client":"203.0.113.0/24"');
    // A server whose address belongs into the configuration is named in full.
    const server = lines("json", ["peer-unknown", { address: "2001:db8:1:2::3" }]);
    expect(server).toContain('"address":"2001:db8:1:2::3"');
    expect(
      [
        "2001:db8:1:2::3",
        "::1",
        "::ffff:192.0.2.7",
        "fe80::1%eth0",
        "192.0.2.0/24",
        "ks.example",
      ].map(clientNetwork),
    ).toEqual([
      "2001:db8:1::/48",
      "::/48",
      "192.0.2.0/24",
      "fe80::/48",
      "192.0.2.0/24",
      "ks.example",
    ]);
  });

  it("go to the journal only when stdout is its stream", async () => {
    const file = join(scratch(), "stream");
    const descriptor = openSync(file, "w");
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    expect(formOf({ JOURNAL_STREAM: `${dev}:${ino}` }, descriptor)).toBe("journal");
    expect(formOf({ JOURNAL_STREAM: `${dev}:${ino + 1n}` }, descriptor)).toBe("json");
    expect(formOf({}, descriptor)).toBe("json");
    closeSync(descriptor);
  });

  it("reach the journal from a real process", async () => {
    const directory = scratch();
    const config = join(directory, "kxgw.toml");
    writeFileSync(config, HEAD);
    const file = join(directory, "stream");
    const descriptor = openSync(file, "w");
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    const child = spawn(process.execPath, [PROGRAM, "serve", "-c", config], {
      stdio: ["ignore", descriptor, "inherit"],
      env: { ...process.env, JOURNAL_STREAM: `${dev}:${ino}` },
    });
    const exited = new Promise((resolve) => child.once("exit", resolve));
    closeSync(descriptor);
    await until(() => readFileSync(file, "utf8").includes("ready"));
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
    const text = readFileSync(file, "utf8");
    expect(text).toMatch(/^<6>ready: listening; smtp=127\.0\.0\.1:\d+ /);
    expect(text).toMatch(/<6>stopping: stopping; signal=SIGTERM\n<6>stopped: stopped\n$/);
  });
});

describe("a gateway's diagnostics", () => {
  it("carry the hash on every line of an update's life, and no user id or body", async () => {
    const [key = ""] = armoredKeys();
    const running = await startGateway(
      `${HEAD}${FEEDER}[outbound]\nrelay = "smtp://127.0.0.1:1"\n` +
        '[[peer]]\nname = "dead"\nmail = "a@dead.example"\n',
    );
    await running.mail(key);
    await running.mail(key, ["pgp@elsewhere.example"]);
    await until(() => running.reports.some(({ event }) => event === "retry"));
    const life = running.reports.filter(({ fields }) => fields.seq !== undefined);
    expect(new Set(life.map(({ event }) => event))).toEqual(
      new Set(["accepted", "suppressed", "duplicate", "retry"]),
    );
    const [hash] = new Set(life.map(({ fields }) => fields.hash));
    expect(hash).toMatch(/^[0-9a-f]{32}$/);
    expect(life.every(({ fields }) => fields.hash === hash)).toBe(true);
    const text = JSON.stringify(running.reports);
    expect(text).not.toMatch(/BEGIN PGP|Debian|debian\.org/);
  });
});

describe("docs/events.md", () => {
  it("is what the table of events says (vitest -u writes it)", async () => {
    const list = (items: readonly (string | undefined)[]) => items.filter(Boolean).join(", ");
    const rows = (Object.keys(EVENTS) as EventName[]).map((name) => {
      const { level, text, isLimited, ...row } = kindOf(name);
      const mark = isLimited ? " *" : "";
      const fields = Object.entries(row.fields).map(([field, type]) =>
        type.endsWith("?") ? `\`${field}\`?` : `\`${field}\``,
      );
      const counts = list([row.direction, row.outcome, row.transport]);
      const cells = [`\`${name}\`${mark}`, level, text, fields.join(", "), counts];
      return `| ${cells.map((cell) => cell || "-").join(" | ")} |`;
    });
    const page = `# Events

This page lists everything that the gateway reports. It is generated from the table in
\`src/diagnostics.ts\`. The names do not change, so alerts and scripts can rely on them. A name is
the \`event\` of a JSON line on stdout, the first word of a line in the journal, and the label
\`event\` of \`kxgw_events_total\`. Every line about an update has its \`hash\`, by which
\`kxgw trace HASH\` finds it.

Levels: an **error** needs an action of the operator. A **warn** is retried by itself, or may need
a look. **info** is a line for each update that was accepted or sent. **debug** is protocol and not
shown. The lines have fingerprints and hashes, and never user ids or bodies. A \`client\` may be a
person and is shortened to its network (/24, /48). An \`address\` may have to be written into the
configuration and is complete ([security](security.md#what-is-stored-and-logged)).

Of an event with a * at most ${REPEAT_LIMITS.lines} lines a minute are written for each neighbour,
then one line whose field \`more\` is the number of those left out. \`kxgw_events_total\` and the
page count all of them.

Fields with a question mark are missing when they are not known. The last column says which way the
update goes, its result (\`result\` in \`kxgw_updates_received_total\`,
\`kxgw_updates_sent_total\` and \`kxgw_repairs_total\`), and the transport if no \`via\` names it.

| event | level | says | fields | counts |
|---|---|---|---|---|
${rows.join("\n")}
`;
    await expect(page).toMatchFileSnapshot("../../docs/events.md");
  });
});
