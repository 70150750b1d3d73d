/**
 * A session and its peer in the words of the wire: `|` is a line end and the closing dot is left
 * out. What the session does is text as well.
 */
import { expect } from "vitest";
import type { Announcement, Opening } from "../../src/kx/messages.js";
import type { SessionOutput } from "../../src/kx/session.js";
import { Session } from "../../src/kx/session.js";
import type { UpdateHash } from "../../src/update.js";

export const HASH = "9b4f7cbf22b6def1f8d579b969fd4d58" as UpdateHash;
export const LINE = `45 ${HASH}`;
export const NEWEST: Announcement = { number: 45, fingerprint: undefined, hash: HASH };
/** A request for one update. */
export const asked = (number: number): Announcement[] => [{ ...NEWEST, number }];
export const UPDATE = `UPDATE|%|${LINE}|-----BEGIN|-----END`;

/** Outputs as text: what is sent as on the wire, the rest by its type and what matters of it. */
export function told(outputs: readonly SessionOutput[]): string[] {
  return outputs.map((output) => {
    switch (output.type) {
      case "send":
        return Buffer.from(output.bytes)
          .toString("latin1")
          .replace(/\r\n\.\r\n$/, "")
          .replaceAll("\r\n", "|");
      case "complaint":
        return `complaint: ${output.problem}`;
      case "end":
        return ["end:", output.reason, output.backoffMs].join(" ").trim();
      case "listed":
        return `listed ${output.low}-${output.high}: ${output.announcements.length}`;
      case "list-failed":
        return `list-failed ${output.low}-${output.high}`;
      case "update":
        return `update ${output.request.number} ${output.request.hash === HASH}`;
      case "unavailable":
        return `unavailable ${output.request.number}`;
      case "update-failed":
        return `update-failed ${output.request.number}: ${output.problem}`;
      case "asked":
        return output.asked.kind === "update"
          ? `asked ${output.asked.tag} ${output.asked.number}`
          : `asked ${output.asked.tag} ${output.asked.kind}`;
      case "announced":
        return `announced ${output.announcements.length}`;
      case "established": {
        const { newest, opening } = output;
        const named = opening && ` ${[opening.log, ...opening.features].join(" ").trim()}`;
        return `established ${newest?.number ?? "empty"}${named ?? ""}`;
      }
      case "done": {
        const without = output.without.map(({ low, high }) => ` ${low}-${high}`);
        return `done ${output.number}${without.join("")}`;
      }
      default:
        return output.type;
    }
  });
}

export class Line {
  readonly session: Session;
  now = 1000;
  #tags = 0;

  /** `own` is what our side says of itself in KX/1.1. */
  constructor(own?: Opening) {
    this.session = new Session(this.now, own);
    expect(told(this.session.start())).toEqual([`${own ? "KX11" : "0001"}|HELO|1.0`]);
  }

  /** Says messages without their tags, which are a000, a001 and so on. */
  say(...messages: readonly string[]): string[] {
    const text = messages.map((message) => {
      const tag = `a${String(this.#tags++).padStart(3, "0")}`;
      return `${tag}|${message}|.|`;
    });
    return this.raw(text.join(""));
  }

  raw(text: string): string[] {
    return told(this.session.received(Buffer.from(text.replaceAll("|", "\r\n")), this.now));
  }

  wait(ms: number): string[] {
    this.now += ms;
    return told(this.session.tick(this.now));
  }
}

export function greeted(): Line {
  const line = new Line();
  expect(line.say("HELO|1.0")).toEqual(["greet"]);
  expect(told(line.session.greet(NEWEST))).toEqual([`0002|IHAVE|NOTIFY|${LINE}`]);
  expect(line.say(`IHAVE|NOTIFY|${LINE}`)).toEqual(["established 45"]);
  return line;
}
