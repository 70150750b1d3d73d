/**
 * Who talks to whom in a counted world: random regular graphs, Barabasi-Albert graphs with their
 * hubs, two clusters with one bridge, a chain. Servers are numbers from 0; every edge goes both
 * ways; every graph is connected.
 */
export interface Topology {
  readonly name: string;
  /** Neighbours by server. */
  readonly neighbours: readonly (readonly number[])[];
}

type Dice = () => number;

/**
 * Every server has `degree` neighbours, chosen at random; `count * degree` must be even. Of a
 * degree that is no whole number the rest is made of single edges: that is the mean then.
 */
export function randomRegular(count: number, degree: number, dice: Dice): Topology {
  if (!Number.isInteger(degree)) return withMeanDegree(count, degree, dice);
  for (let attempt = 0; attempt < 1000; attempt++) {
    const graph = pairUp(count, degree, dice);
    if (graph !== undefined && isConnected(graph)) {
      return { name: `random regular ${degree}`, neighbours: lists(graph) };
    }
  }
  throw new Error(`no random graph of ${count} servers with ${degree} neighbours each`);
}

function withMeanDegree(count: number, degree: number, dice: Dice): Topology {
  const graph = randomRegular(count, Math.floor(degree), dice).neighbours.map(
    (all) => new Set(all),
  );
  const wanted = Math.round((count * degree) / 2);
  const pick = () => Math.floor(dice() * count);
  for (let edges = (count * Math.floor(degree)) / 2; edges < wanted; ) {
    const [a, b] = [pick(), pick()];
    if (a === b || graph[a]?.has(b) === true) continue;
    join(graph, a, b);
    edges += 1;
  }
  return { name: `random, mean degree ${degree}`, neighbours: lists(graph) };
}

/** Servers that join choose `links` of those that are there, the better connected the likelier. */
export function barabasiAlbert(count: number, links: number, dice: Dice): Topology {
  const graph = empty(count);
  const ends: number[] = [];
  for (let joined = 1; joined < count; joined++) {
    const chosen = new Set<number>();
    if (joined <= links) for (let n = 0; n < joined; n++) chosen.add(n);
    while (chosen.size < Math.min(links, joined)) {
      chosen.add(ends[Math.floor(dice() * ends.length)] ?? 0);
    }
    for (const other of chosen) {
      join(graph, joined, other);
      ends.push(joined, other);
    }
  }
  return { name: `Barabasi-Albert ${links}`, neighbours: lists(graph) };
}

/** Two random regular graphs and one edge between them. */
export function twoClusters(count: number, degree: number, dice: Dice): Topology {
  const half = Math.floor(count / 2);
  const first = randomRegular(half, degree, dice).neighbours;
  const second = randomRegular(count - half, degree, dice).neighbours;
  const graph = empty(count);
  for (const [n, others] of first.entries()) for (const other of others) join(graph, n, other);
  for (const [n, others] of second.entries()) {
    for (const other of others) join(graph, half + n, half + other);
  }
  join(graph, 0, half);
  return { name: `two clusters of ${degree}, one bridge`, neighbours: lists(graph) };
}

/** One behind the other. */
export function chain(count: number): Topology {
  const graph = empty(count);
  for (let n = 1; n < count; n++) join(graph, n - 1, n);
  return { name: `chain of ${count}`, neighbours: lists(graph) };
}

/** How many edges there are. */
export function edgeCount({ neighbours }: Topology): number {
  return neighbours.reduce((sum, others) => sum + others.length, 0) / 2;
}

function pairUp(count: number, degree: number, dice: Dice): Set<number>[] | undefined {
  const graph = empty(count);
  let stubs = Array.from({ length: count * degree }, (_, n) => n % count);
  // Pairs that do not fit are thrown anew, as long as that helps.
  for (let round = 0; round < 100 && stubs.length > 0; round++) {
    shuffle(stubs, dice);
    const left: number[] = [];
    for (let n = 0; n + 1 < stubs.length; n += 2) {
      const [a = 0, b = 0] = [stubs[n], stubs[n + 1]];
      if (a === b || graph[a]?.has(b) === true) left.push(a, b);
      else join(graph, a, b);
    }
    stubs = left;
  }
  return stubs.length > 0 ? undefined : graph;
}

function isConnected(graph: readonly ReadonlySet<number>[]): boolean {
  const seen = new Set([0]);
  for (const n of seen) for (const other of graph[n] ?? []) seen.add(other);
  return seen.size === graph.length;
}

function shuffle(values: number[], dice: Dice): void {
  for (let n = values.length - 1; n > 0; n--) {
    const m = Math.floor(dice() * (n + 1));
    [values[n], values[m]] = [values[m] ?? 0, values[n] ?? 0];
  }
}

function empty(count: number): Set<number>[] {
  return Array.from({ length: count }, () => new Set<number>());
}

function join(graph: readonly Set<number>[], a: number, b: number): void {
  graph[a]?.add(b);
  graph[b]?.add(a);
}

function lists(graph: readonly ReadonlySet<number>[]): number[][] {
  return graph.map((others) => [...others]);
}
