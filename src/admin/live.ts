/**
 * Server-sent events: notifies open pages of changes, at most four times a second; the page then
 * fetches itself again. The server limits the number of clients; a client that
 * does not read is dropped. A comment every 25 s keeps proxies from closing a quiet stream.
 */
import type { ServerResponse } from "node:http";

export const LIVE_LIMITS = {
  clients: 20,
  /** Per address, which may be that of a proxy. */
  perAddress: 10,
  /** Reports within this time are one change. */
  settleMs: 250,
  beatMs: 25_000,
} as const;

export class LiveClients {
  readonly #clients = new Set<ServerResponse>();
  #settling: NodeJS.Timeout | undefined;
  #beat: NodeJS.Timeout | undefined;
  #changes = 0;

  /** Makes `response` a stream, with these additional headers. */
  add(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
    response.writeHead(200, { ...headers, "Content-Type": "text/event-stream" });
    response.write("retry: 3000\n\n");
    this.#clients.add(response);
    response.on("close", () => this.#remove(response));
    this.#beat ??= setInterval(() => this.#send(": still here\n\n"), LIVE_LIMITS.beatMs);
  }

  /** Something changed. */
  changed(): void {
    if (this.#clients.size === 0 || this.#settling !== undefined) return;
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      this.#changes += 1;
      this.#send(`event: change\ndata: ${this.#changes}\n\n`);
    }, LIVE_LIMITS.settleMs);
  }

  close(): void {
    clearTimeout(this.#settling);
    clearInterval(this.#beat);
    this.#settling = undefined;
    this.#beat = undefined;
    for (const client of this.#clients) client.destroy();
    this.#clients.clear();
  }

  #send(text: string): void {
    for (const client of this.#clients) {
      if (client.writableNeedDrain) client.destroy();
      else client.write(text);
    }
  }

  #remove(client: ServerResponse): void {
    this.#clients.delete(client);
    if (this.#clients.size > 0) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
  }
}
