/** A server that is followed, as status, first line, page and metrics show it. */
import { expect, test } from "vitest";
import { statusPage } from "../../src/admin/page.js";
import { statusText } from "../../src/cli/status.js";
import type { FollowerStatus } from "../../src/following/follower.js";
import { filterOf } from "../../src/status/event-lines.js";
import { status } from "../../src/status/status.js";
import { preparedDoor, preparedSources } from "../admin/prepared.js";

const NO_DAYS = { inMail: [], inKx: [], inOther: [], outMail: [], outKx: [] };
const NO_EVENTS = { filter: filterOf(new URLSearchParams()), lines: [], left: 0 };

const SERVER = "127.0.0.1:11370";
const UP: FollowerStatus = {
  ...{ server: SERVER, hkp: "http://127.0.0.1:11371", neighbour: "[local]" },
  ...{ state: "up", problem: undefined, remedy: undefined, keys: 1234, wanted: 5 },
  ...{ filters: "yminsky.dedup", sessions: 7, fetched: 3, octetsIn: 600, octetsOut: 144 },
  wholeAt: 1_000_000,
};
const DOWN: FollowerStatus = {
  ...UP,
  ...{ state: "down", problem: "mismatched filters", remedy: "Restart it." },
};

function shown(one: FollowerStatus) {
  const value = status({ ...preparedSources().sources, recon: () => [one] });
  return { value, text: statusText(value), page: statusPage(value, NO_DAYS, NO_EVENTS).text };
}

test("a server that is followed", () => {
  const { value, text, page } = shown(UP);
  expect(value.recon).toMatchObject([
    { server: SERVER, state: "up", words: "1 234 keys, 5 keys to fetch", problem: null },
  ]);
  expect(text).toContain(`recon     ${SERVER}: 1 234 keys, 5 keys to fetch\n`);
  expect(page).toContain("Followed by recon");
  expect(page).toContain("1 234");
});

test("a server that refuses comes first", () => {
  const { value, page } = shown(DOWN);
  expect(value.verdict.state).toBe("bad");
  expect(value.verdict.words).toContain(`${SERVER} is not followed by recon: mismatched filters.`);
  expect(value.recon).toMatchObject([{ problem: "mismatched filters", remedy: "Restart it." }]);
  expect(page).toContain("mismatched filters");
});

test("words of a server are text and no markup", () => {
  const { page } = shown({ ...DOWN, problem: "<script>alert(1)</script>" });
  expect(page).not.toContain("<script>alert");
});

test("a page without such servers has no section for them", () => {
  const page = statusPage(status(preparedSources().sources), NO_DAYS, NO_EVENTS).text;
  expect(page).not.toContain("Followed by recon");
});

test("the metrics have each server", async () => {
  const url = await preparedDoor({
    ...preparedSources().sources,
    recon: () => [UP, { ...DOWN, server: "b" }],
  });
  const metrics = await (await fetch(`${url}/metrics`)).text();
  for (const line of [
    `kxgw_recon_up{server="${SERVER}"} 1`,
    'kxgw_recon_up{server="b"} 0',
    `kxgw_recon_keys{server="${SERVER}"} 1234`,
    `kxgw_recon_wanted{server="${SERVER}"} 5`,
    `kxgw_recon_sessions_total{server="${SERVER}"} 7`,
    `kxgw_recon_fetched_total{server="${SERVER}"} 3`,
    `kxgw_recon_bytes_total{server="${SERVER}"} 744`,
    `kxgw_recon_complete_timestamp_seconds{server="${SERVER}"} 1000`,
  ]) {
    expect(metrics.split("\n")).toContain(line);
  }
});
