/**
 * How a connection is closed with CLOSE (thesis A.2.7, rule 8 of `smtp-session.ts`): either side
 * says it, the other answers quoting the tag, and what is owed is answered until a deadline. Keeps
 * the state of that; what is owed is the session's to know.
 */
const FAREWELL_MS = 10_000;

export class CloseHandshake {
  #dueAt: number | undefined;
  #ownTag: string | undefined;
  #hasAnswered = false;
  #isAgreed = false;

  /** When the connection ends, come what may; undefined while nobody has said CLOSE. */
  get dueAt(): number | undefined {
    return this.#dueAt;
  }

  /** The peer answered our CLOSE, or said its own. */
  get isAgreed(): boolean {
    return this.#isAgreed;
  }

  /** We say CLOSE with that tag. */
  say(tag: string, now: number): void {
    this.#ownTag = tag;
    this.#dueAt ??= now + FAREWELL_MS;
  }

  /**
   * The peer said CLOSE, with the tag that it quotes, if any. A first one of its own is to be
   * answered, of a flood of them none is; one that quotes what we never said is `unasked`.
   */
  hear(inReplyTo: string | undefined, now: number): "answer" | "unasked" | "nothing" {
    if (inReplyTo !== undefined && inReplyTo !== this.#ownTag) return "unasked";
    this.#isAgreed = true;
    if (inReplyTo !== undefined || this.#hasAnswered) return "nothing";
    this.#hasAnswered = true;
    this.#dueAt ??= now + FAREWELL_MS;
    return "answer";
  }
}
