/**
 * The stage of the end-to-end tests: gateways as processes of the built program, the command line
 * run to its end, directories that are gone afterwards. Whatever a test starts here is stopped when
 * the test is finished, however it ends. `npm test` builds before it tests; who runs vitest alone
 * on an old build is told so, for a test of yesterday's program proves nothing.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { GatewayPlace } from "../../src/demo/process.js";
import { GatewayProcess } from "../../src/demo/process.js";
import { LegacySite } from "../../src/demo/site.js";
import { scratch } from "../support/scratch.js";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
export const PROGRAM = join(ROOT, "dist/main.js");

assertFreshBuild();

/** A config file of this text; the log of its gateway lies beside it. */
export function configFile(text: string, name = "kxgw"): string {
  const file = join(scratch(), `${name}.toml`);
  writeFileSync(file, text);
  return file;
}

/** What each gateway's config here begins with: its site, its log, free ports, `more` SMTP. */
export function base(site: string, more = ""): string {
  return `[site]
address = "${site}"
[log]
path = "updates.db"
[smtp]
listen = ["127.0.0.1:0"]
${more}
[admin]
listen = "127.0.0.1:0"
`;
}

/** A gateway on a config file, listening. It is killed at the end of the test if it still runs. */
export async function start(file: string, program = PROGRAM): Promise<GatewayProcess> {
  const gateway = spawn(file, {}, program);
  await gateway.event("ready");
  return gateway;
}

/** The same, not yet listening, with or without a config file, anywhere. */
export function spawn(
  file: string | undefined,
  place: GatewayPlace = {},
  program = PROGRAM,
): GatewayProcess {
  const gateway = GatewayProcess.spawn(file, program, [], place);
  onTestFinished(async ({ task }) => {
    if (task.result?.state === "fail") tell(gateway);
    await gateway.end("SIGKILL");
  });
  return gateway;
}

/** What a gateway of a failed test said last. */
function tell({ output, errors, pid }: GatewayProcess): void {
  const last = output.trimEnd().split("\n").slice(-20);
  process.stderr.write(`${[`gateway ${pid}, stderr: ${errors.trim()}`, ...last].join("\n")}\n`);
}

/** A legacy site that listens, and its port. */
export async function legacySite(address: string) {
  const site = new LegacySite(address);
  onTestFinished(() => site.stop());
  const port = await site.start();
  return { site, port };
}

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `kxgw` with these arguments, run to its end. */
export function kxgw(
  args: readonly string[],
  options: { readonly input?: string | Uint8Array; readonly directory?: string } = {},
): Promise<Run> {
  return run(process.execPath, [PROGRAM, ...args], options);
}

/** A program, run to its end, which may be any exit code. */
export function run(
  program: string,
  args: readonly string[],
  { input, directory }: { readonly input?: string | Uint8Array; readonly directory?: string } = {},
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: 64 * 1024 * 1024, ...(directory && { cwd: directory }) };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== "number") reject(error);
      else resolve({ code: Number(error?.code ?? 0), stdout, stderr });
    });
    child.stdin?.on("error", () => {
      // It did not want all of its input.
    });
    child.stdin?.end(input);
  });
}

/** One line of `kxgw log --json`. */
export interface LogLine {
  readonly seq: number;
  readonly fingerprint: string;
  readonly hash: string;
  readonly size: number;
  readonly origin: string | null;
  readonly transport: string;
}

/** The update log of the gateway of this config file, read by the command. */
export async function logOf(file: string): Promise<LogLine[]> {
  const { code, stdout, stderr } = await kxgw(["log", "-c", file, "--json"]);
  if (code !== 0) throw new Error(`kxgw log: ${code}: ${stderr}`);
  const lines = stdout.split("\n").filter((line) => line !== "");
  return lines.map((line) => JSON.parse(line) as LogLine);
}

function assertFreshBuild(): void {
  const source = join(ROOT, "src");
  const files = readdirSync(source, { recursive: true, encoding: "utf8" });
  const stale = files
    .filter((file) => file.endsWith(".ts"))
    .filter((file) => {
      const built = join(ROOT, "dist", file.replace(/\.ts$/, ".js"));
      return !existsSync(built) || statSync(built).mtimeMs < statSync(join(source, file)).mtimeMs;
    });
  if (stale.length > 0) {
    throw new Error(`dist/ is older than src/ (${stale.join(", ")}): run "npm run build" first`);
  }
}
