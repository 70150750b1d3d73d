/** docs/monitoring.md: its list of metrics is what /metrics says of itself. */
import { expect, it } from "vitest";
import { clustered, preparedDoor, preparedSources } from "../admin/prepared.js";
import { page } from "../support/page.js";

/** The page up to here is written by hand. */
const MARK =
  "<!-- What follows is made from the metrics: npx vitest run test/reference --update -->\n";

it("docs/monitoring.md lists the metrics (vitest --update writes it)", async () => {
  const base = await preparedDoor(clustered(preparedSources().sources));
  const text = await (await fetch(`${base}/metrics`)).text();
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, a, b]) => [a, b]));
  const own = [...text.matchAll(/^# HELP (kxgw_\S+) (.*)$/gm)];
  expect(own.length).toBeGreaterThan(25);
  const rows = own.map(([, name = "", help = ""]) => {
    expect(help, name).toMatch(/\.$/);
    return `| \`${name}\` | ${types.get(name)} | ${help.replaceAll("|", "\\|")} |`;
  });
  const table = `| metric | type | |\n|---|---|---|\n${rows.sort().join("\n")}\n`;
  const rest =
    "\nThe metrics of the process (`process_*`, `nodejs_*`) are those of prom-client: memory, " +
    "CPU, open files, event loop.\n";
  const [head = ""] = page("monitoring.md").split(MARK);
  await expect(`${head}${MARK}\n## Metrics\n\n${table}${rest}`).toMatchFileSnapshot(
    "../../docs/monitoring.md",
  );
});
