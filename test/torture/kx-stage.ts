/**
 * A gateway with one honest KX peer, which has fetched from it and may do so again, and with room
 * for rude ones: configured peers at 127.0.0.2 and up that nobody plays yet.
 */
import type { GatewayProcess } from "../../src/demo/process.js";
import type { KxPeer } from "../support/kx-peer.js";
import { holdsWithin } from "../support/until.js";
import type { Context } from "./check.js";
import { made } from "./material.js";
import { World } from "./world.js";

export interface KxStage {
  readonly world: World;
  readonly gateway: GatewayProcess;
  readonly peer: KxPeer;
  readonly port: number;
  end(): Promise<void>;
}

/** The address of the n-th rude peer, from 0. */
export function rudeAddress(n: number): string {
  return `127.0.0.${n + 2}`;
}

/** Update 1 of its log is `made(seed, 0, filler)`; `settings` are lines for each rude peer. */
export async function kxStage(
  context: Context,
  rude: number,
  filler = 100,
  directory = context.directory,
  settings = "",
): Promise<KxStage> {
  const { build, seed } = context;
  const peers = Array.from(
    { length: rude },
    (_, n) => `[[peer]]\nname = "rude-${n}"\nkx = "${rudeAddress(n)}:1"\nvia = "kx"\n${settings}`,
  );
  const world = await World.make({ directory, build, peer: true, more: peers.join("") });
  const gateway = await world.start();
  const { peer } = world;
  if (peer === undefined) throw new Error("a stage without its peer");
  await holdsWithin(() => peer.connected, 20_000);
  peer.add(made(seed, 0, filler));
  const isThere = async () => (await peer.fetch(1))?.command === "UPDATE";
  if (!(await holdsWithin(isThere, 20_000))) throw new Error("the first update did not come");
  const end = async () => {
    await gateway.end();
    await world.end();
  };
  return { world, gateway, peer, port: gateway.port("kx"), end };
}
