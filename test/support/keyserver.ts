/** A small keyserver that answers HKP lookups as a test says: well, badly, late or never. */
import { createServer, type ServerResponse } from "node:http";
import { onTestFinished } from "vitest";
import { listening } from "./ports.js";

/** An HKP server; `answer` gets what was searched for. Resolves with its repair address. */
export async function keyserver(
  answer: (fingerprint: string, response: ServerResponse) => void,
): Promise<{ readonly repair: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    const search = url.searchParams.get("search") ?? "";
    asked.push(`${url.pathname} ${url.searchParams.get("op")} ${search}`);
    answer(search.replace(/^0x/, ""), response);
  });
  const port = await listening(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { repair: `hkp://127.0.0.1:${port}`, asked };
}
