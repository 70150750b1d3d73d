/**
 * Recon: what it costs to follow a server of many keys. A session of the gateway runs against the
 * model server in one process, without sockets and without fetching keys, so octets are exact and
 * times are those of both sides together, with the commits to a real log file.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ReconChange } from "../../../src/log/recon.js";
import { UpdateLog } from "../../../src/log/update-log.js";
import { ReconSession } from "../../../src/recon/session.js";
import { ModelSession } from "../../recon/model-server.js";
import { ModelTree } from "../../recon/model-tree.js";
import { atMost, type Bench, type Context, type Figure, median, type Outcome } from "../bench.js";

/** Changes of the tree in one commit, as the follower has it. */
const AT_ONCE = 500;
const CHANGES = [0, 1, 20, 1000];

export const recon: Bench = {
  name: "recon",
  question: "What does it cost to follow a server of many keys?",
  run,
};

interface Cost {
  readonly octets: number;
  readonly ms: number;
}

async function run(context: Context): Promise<Outcome> {
  const sizes = context.quick ? [1000] : [1000, 100_000, 1_000_000];
  const figures: Figure[] = [];
  let idle: readonly number[] = [];
  let perKey = 0;
  for (const size of sizes) {
    const measured = follow(context, size);
    figures.push(...measured.figures);
    idle = measured.idle;
    perKey = measured.perKey;
  }
  return {
    input: `model servers of ${sizes.join(", ")} keys`,
    figures,
    goals: [
      atMost("a session without a change takes 1000 octets", median(idle), 1000, " octets"),
      atMost("the log keeps 24 octets for a key of the largest server", perKey, 24, " octets"),
    ],
  };
}

function follow({ directory, runs, say, quick }: Context, size: number) {
  const tree = new ModelTree();
  let made = 0;
  const grow = (count: number) => {
    for (let n = 0; n < count; n++) tree.add(md5(made++));
  };
  grow(size);
  const log = UpdateLog.open(join(directory, `recon-${size}.db`));
  const { id } = log.recon.server("model");
  try {
    const before = fileBytes(log);
    const first = session(log, id, tree);
    if (log.recon.counts(id).known !== size) throw new Error("the first session is not whole");
    const perKey = (fileBytes(log) - before) / size;
    say(
      `${size} keys: ${first.octets} octets, ${first.ms.toFixed(0)} ms, ${perKey.toFixed(1)}/key`,
    );
    const name = (what: string) => `${size} keys: ${what}`;
    const figures: Figure[] = [
      { name: name("first session"), unit: "octets", values: [first.octets] },
      { name: name("first session"), unit: "ms", values: [first.ms] },
      { name: name("on disk for a key"), unit: "octets", values: [perKey] },
    ];
    let idle: readonly number[] = [];
    for (const changes of CHANGES) {
      const costs: Cost[] = [];
      for (let turn = 0; turn < (quick ? 1 : runs); turn++) {
        grow(changes);
        costs.push(session(log, id, tree));
      }
      const what = changes === 0 ? "no change" : `${changes} new ${changes === 1 ? "key" : "keys"}`;
      const octets = costs.map((cost) => cost.octets);
      if (changes === 0) idle = octets;
      figures.push(
        { name: name(what), unit: "octets", values: octets },
        { name: name(what), unit: "ms", values: costs.map(({ ms }) => ms) },
      );
    }
    return { figures, idle, perKey };
  } finally {
    log.close();
  }
}

/** One session to its end; octets of both directions. */
function session(log: UpdateLog, id: number, tree: ModelTree): Cost {
  const from = performance.now();
  const server = new ModelSession(tree);
  const client = new ReconSession((prefix) => log.recon.mark(id, prefix), 0);
  let changes: ReconChange[] = [];
  let octets = 0;
  const commit = () => {
    if (changes.length > 0) log.recon.apply(id, changes, "note", 0);
    changes = [];
  };
  for (let down = server.begin(); down.length > 0; ) {
    octets += down.length;
    const up: Uint8Array[] = [];
    for (const output of client.received(down, 0)) {
      if (output.kind === "send") up.push(output.octets);
      else if (output.kind === "end" && output.why !== "done") throw new Error(output.words);
      else if (output.kind !== "end" && output.kind !== "config") changes.push(output);
      if (changes.length >= AT_ONCE) commit();
    }
    const sent = Buffer.concat(up);
    octets += sent.length;
    down = server.receive(sent);
  }
  commit();
  return { octets, ms: performance.now() - from };
}

function md5(n: number): string {
  return createHash("md5").update(`bench ${n}`).digest("hex");
}

/** Of the file, with nothing left in the WAL. */
function fileBytes(log: UpdateLog): number {
  log.checkpoint();
  return log.counts().fileBytes;
}
