/**
 * Bar charts as SVG files, drawn as `src/admin/chart.ts` draws its own: by hand, no script, no font
 * that has to be there. One bar a row, on a logarithmic scale where costs are a thousand times
 * apart; the value stands behind its bar, so that nobody has to read the scale.
 */
import { short } from "../bench/bench.js";

export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly road: "mail" | "kx";
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
  readonly scale: "linear" | "logarithmic";
}

const WIDTH = 720;
const LABELS = 230;
const VALUES = 110;
const ROW = 26;
const TOP = 34;
const COLOURS = { mail: "#b5651d", kx: "#1f6f8b" } as const;

export function barChart({ title, unit, bars, scale }: Chart): string {
  const height = TOP + bars.length * ROW + 10;
  const room = WIDTH - LABELS - VALUES;
  const width = widths(bars, scale);
  const rows = bars.map(({ label, value, road }, index) => {
    const y = TOP + index * ROW;
    const length = room * width(value);
    return [
      `<text x="${LABELS - 8}" y="${y + 16}" text-anchor="end">${escaped(label)}</text>`,
      `<rect x="${LABELS}" y="${y + 4}" width="${length.toFixed(1)}" height="${ROW - 10}" ` +
        `fill="${COLOURS[road]}"/>`,
      `<text x="${(LABELS + length + 6).toFixed(1)}" y="${y + 16}">${short(value)}</text>`,
    ].join("\n");
  });
  const said = `${title} (${unit}${scale === "logarithmic" ? ", logarithmic" : ""})`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}"
 width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13" fill="#222" role="img">
<title>${escaped(said)}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="10" y="20" font-weight="bold">${escaped(said)}</text>
${rows.join("\n")}
<line x1="${LABELS}" x2="${LABELS}" y1="${TOP}" y2="${height - 8}" stroke="#222"/>
</svg>
`;
}

/** Which share of the room a value takes; the scale begins a tenth below the least value. */
function widths(bars: readonly Bar[], scale: Chart["scale"]): (value: number) => number {
  const values = bars.map(({ value }) => value).filter((value) => value > 0);
  const most = Math.max(...values, Number.MIN_VALUE);
  if (scale === "linear") return (value) => value / most;
  const least = Math.log10(Math.min(...values, most)) - 1;
  const span = Math.log10(most) - least;
  return (value) => (value <= 0 ? 0 : Math.max(0.004, (Math.log10(value) - least) / span));
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
