/**
 * `kxgw trace FINGERPRINT|HASH|MESSAGE-ID|NUMBER`: how an update was received, and its state at
 * each neighbour. The updates and their stored state are read from the log; the running gateway
 * adds times that are only in memory.
 */

import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import { bodyWords, bridgeWords, entriesOf, type Journey, journeyOf } from "../status/journey.js";
import { ago, cameBy, listed, octets } from "../text.js";
import { ask, run, withLog } from "./daemon.js";
import type { Output } from "./output.js";
import { plainText } from "./table.js";

/** Prints the journeys, newest first; 66 if no update is found. */
export async function traceCommand(
  question: string,
  given: { readonly file: string; readonly json: boolean },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(given.file, env);
    const offline = withLog(config, (sources) => {
      const { log, lanes, peers, clock } = sources;
      const from = { config, log, lanes, peers, recent: [], now: clock.now() };
      return entriesOf(log, question.replace(/\s+/g, ""), true).map((entry) =>
        journeyOf(entry, from),
      );
    });
    if (offline.length === 0) {
      out.stderr(`kxgw: the log holds no update ${JSON.stringify(question)}\n${HINT}`);
      return EXIT.noInput;
    }
    let isUp = true;
    for (const stored of offline) {
      const reply = await ask(config, `/update/${stored.seq}.json`);
      isUp = reply !== undefined;
      const [told] = reply?.code === 200 ? (JSON.parse(reply.body) as Journey[]) : [];
      const journey = told ?? stored;
      out.stdout(given.json ? `${JSON.stringify(journey)}\n` : journeyText(journey, Date.now()));
    }
    if (!isUp && !given.json) {
      out.stderr("kxgw: the gateway is not running; this was read from the log on disk\n");
    }
    return EXIT.ok;
  });
}

const HINT = `      Use the fingerprint of a key (40 digits), the hash of an update (32 digits,
      as kxgw hash prints it), the Message-ID of a mail, or a number from kxgw log.
`;

function removalLines({ removal }: Journey, time: (iso: string) => string): string[] {
  if (removal === null) return [];
  const { what, reason, since } = removal;
  return [`  ${what.padEnd(8)} ${since === null ? "" : `${time(since)}: `}${reason}`];
}

/** The journey as lines of text, followed by an empty line. */
function journeyText(journey: Journey, now: number): string {
  const { seq, hash, fingerprint, size, received, from, transport, messageId, trail } = journey;
  const { bridgeFrom } = journey;
  const time = (iso: string) => `${iso} (${ago(Date.parse(iso), now)})`;
  const stages = journey.stages.map((stage) => {
    const when = stage.time === null ? "" : `, ${time(stage.time)}`;
    return `  ${stage.state.padEnd(8)} ${stage.neighbour}: ${stage.words}${when}`;
  });
  const lines = [
    `update ${seq}`,
    `  key      ${fingerprint || "deleted"}`,
    `  hash     ${hash}`,
    `  size     ${octets(size)}${bodyWords(journey)}`,
    `  received ${time(received)} ${cameBy(transport)}, from ${from ?? "unknown sender"}`,
    ...(messageId === null ? [] : [`  mail     ${messageId}`]),
    ...removalLines(journey, time),
    `  trail    ${trail.length === 0 ? "empty" : listed(trail)}`,
    ...(bridgeFrom === null ? [] : [`  observe  ${bridgeWords(bridgeFrom)}`]),
    ...stages,
  ];
  return `${lines.map(plainText).join("\n")}\n\n`;
}
