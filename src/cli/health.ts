/**
 * `kxgw health`: is the gateway up and able to take updates? For a container's HEALTHCHECK and for
 * scripts: 0 or 69, one line. `--wait` keeps asking, for a start that takes a moment.
 */
import { loadConfig } from "../config/load.js";
import { EXIT } from "../errors.js";
import type { Reply } from "./daemon.js";
import { ask, run } from "./daemon.js";
import type { Output } from "./output.js";

const AGAIN_MS = 200;

export async function healthCommand(
  file: string,
  options: { readonly json: boolean; readonly waitMs: number },
  out: Output,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  return await run(out, async () => {
    const config = loadConfig(file, env);
    const deadline = performance.now() + options.waitMs;
    let reply: Reply | undefined;
    for (;;) {
      reply = await ask(config, "/readyz?verbose");
      if (reply?.code === 200 || performance.now() + AGAIN_MS > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    const ready = reply?.code === 200;
    const words = reply?.body.trim().replaceAll("\n", "; ") ?? "no gateway serves this log";
    if (options.json) out.stdout(`${JSON.stringify({ ready, words })}\n`);
    else (ready ? out.stdout : out.stderr)(`${words}\n`);
    return ready ? EXIT.ok : EXIT.unavailable;
  });
}
