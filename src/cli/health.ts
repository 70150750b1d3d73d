/**
 * `kxgw health`: checks that the gateway runs and can accept updates, for HEALTHCHECK of containers
 * and for scripts: exit code 0 or 69, one line. `--wait` repeats the check while it starts.
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
    const words = reply?.body.trim().replaceAll("\n", "; ") ?? "the gateway is not running";
    if (options.json) out.stdout(`${JSON.stringify({ ready, words })}\n`);
    else (ready ? out.stdout : out.stderr)(`${words}\n`);
    return ready ? EXIT.ok : EXIT.unavailable;
  });
}
