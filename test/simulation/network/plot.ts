/** Lines over two logarithmic axes as an SVG that is read in light and dark, alone in a page. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly lines: readonly {
    readonly name: string;
    readonly points: readonly (readonly [number, number])[];
  }[];
}

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 380, 70, 150, 40, 50];
const COLOURS = ["#4878cf", "#c44e52", "#55a868", "#8172b3", "#b8860b", "#64b5cd"];

export function svg({ title, x, y, lines }: Plot): string {
  const all = lines.flatMap(({ points }) => points);
  const across = scale(
    all.map(([value]) => value),
    LEFT,
    WIDTH - RIGHT,
  );
  const up = scale(
    all.map(([, value]) => value),
    HEIGHT - BOTTOM,
    TOP,
  );
  const grid = [
    ...ticks(up.least, up.most).map((value) => {
      const at = up.at(value).toFixed(1);
      const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" class="g"/>`;
      return `${line}<text x="${LEFT - 8}" y="${at}" class="e">${short(value)}</text>`;
    }),
    ...[...new Set(all.map(([value]) => value))].map((value) => {
      const at = across.at(value).toFixed(1);
      return `<text x="${at}" y="${HEIGHT - BOTTOM + 20}" class="m">${short(value)}</text>`;
    }),
  ];
  const drawn = lines.map(({ name, points }, n) => {
    const colour = COLOURS[n % COLOURS.length];
    const path = points.map(([a, b]) => `${across.at(a).toFixed(1)},${up.at(b).toFixed(1)}`);
    const dots = path.map((point) => {
      const [cx, cy] = point.split(",");
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
    });
    const at = TOP + 20 + 22 * n;
    const side = WIDTH - RIGHT + 14;
    const key = `<rect x="${side}" y="${at - 9}" width="10" height="10" fill="${colour}"/>`;
    const label = `<text x="${side + 16}" y="${at}">${name}</text>`;
    const line = `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}"/>`;
    return `${line}${dots.join("")}${key}${label}`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
<title>${title}</title>
<style>svg{background:#fff}text{font:13px sans-serif;fill:#333}.e{text-anchor:end;
dominant-baseline:middle}.m{text-anchor:middle}.g{stroke:#ddd}polyline{stroke-width:2}</style>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${LEFT}" y="22" style="font-weight:bold">${title}</text>
${grid.join("\n")}
${drawn.join("\n")}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 10}" class="m">${x}</text>
<text x="${LEFT - 8}" y="${TOP - 4}" class="e">${y}</text>
</svg>
`;
}

function scale(values: readonly number[], from: number, to: number) {
  const good = values.filter((value) => value > 0);
  const [least, most] = [Math.min(...good), Math.max(...good)];
  const span = Math.log(most / least) || 1;
  const at = (value: number) =>
    from + ((to - from) * Math.log(Math.max(value, least) / least)) / span;
  return { least, most, at };
}

/** Powers of ten, and ones between where there are few. */
function ticks(least: number, most: number): number[] {
  const found: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++) {
    for (const step of [1, 2, 5]) {
      const value = step * 10 ** power;
      if (value >= least && value <= most) found.push(value);
    }
  }
  return found;
}

function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  return value >= 1000
    ? `${Number((value / 1000).toPrecision(3))}k`
    : String(Number(value.toPrecision(2)));
}
