/**
 * The time of each parser on its worst input, at n, 2n, 4n, 8n and 16n (row 38). Control: work that
 * is quadratic on purpose.
 */
import { type Growth, growthOf, MOST_RATIO, WORST } from "../../fuzz/growth.js";
import { type Check, goesOn } from "../check.js";

export const growth: Check = {
  name: "growth",
  rows: [38],
  promise: `twice the input takes at most ${MOST_RATIO} times as long`,
  runs: 1000,
  share: 0.5,
  async run(context) {
    const grown: Growth[] = [];
    for (const worst of WORST) {
      if (goesOn(context, grown.length, WORST.length)) grown.push(await growthOf(worst));
    }
    const faults = grown
      .filter(({ worst }) => worst > MOST_RATIO)
      .map(({ name, worst, ms }) => `${name}: ${worst.toFixed(2)} (${ms.map(Math.round)} ms)`);
    const [most] = grown.toSorted((a, b) => b.worst - a.worst);
    const control = await growthOf({ name: "quadratic", size: 250, prepare: quadratic });
    return {
      faults,
      figures:
        `${grown.length} worst inputs of 8 parsers; largest t(2n)/t(n) ` +
        `${most?.worst.toFixed(2)} (${most?.name})`,
      control: {
        caught: control.worst > MOST_RATIO,
        figures: `quadratic work: ${control.worst.toFixed(2)}`,
      },
    };
  },
};

function quadratic(size: number): () => number {
  return () => {
    let sum = 0;
    for (let i = 0; i < size; i += 1) for (let j = 0; j < size; j += 1) sum += i ^ j;
    return sum;
  };
}
