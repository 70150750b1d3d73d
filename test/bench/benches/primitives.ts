/** The roofline as a bench of its own: what the primitives cost, one by one. */
import type { Bench, Context, Outcome } from "../bench.js";
import { measureRoofline, type Roofline } from "../roofline.js";

export const primitives: Bench = {
  name: "roofline",
  question: "What do the primitives alone cost on the same updates?",
  run,
};

async function run({ material, quick, runs, directory }: Context): Promise<Outcome> {
  const updates = material.updates(quick ? 2000 : 20_000);
  measureRoofline(updates.slice(0, 1000), directory);
  const measured = Array.from({ length: runs }, () => measureRoofline(updates, directory));
  const names = Object.keys(measured[0]?.parts ?? {});
  const values = (of: (roofline: Roofline) => number) => measured.map(of);
  return {
    input: `${updates.length} updates of ${material.source}`,
    figures: [
      { name: "all primitives, an update", unit: "us", values: values(({ totalUs }) => totalUs) },
      ...names.map((name) => ({
        name,
        unit: "% of all",
        values: values(({ parts, totalUs }) => (100 * (parts[name] ?? 0)) / totalUs),
      })),
    ],
    goals: [],
  };
}
