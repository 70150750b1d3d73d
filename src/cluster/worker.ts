/**
 * The database thread: keeps one session at a time, connects again when it ends, shows once a
 * second that this gateway is alive, and takes leases when they become free. The main thread may be
 * blocked meanwhile, as in a long write to its copy; the session lives on.
 *
 * A request names the session that the main thread knows. When that one has ended, the request
 * fails, so that nothing is committed by a gateway that does not know yet that it lost its leases.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../clock.js";
import { Trouble } from "../errors.js";
import { awayTrouble, troubleOf } from "./database-trouble.js";
import { SHARED_LIMITS } from "./limits.js";
import {
  type Answer,
  type Asked,
  EXPIRY,
  type NodeNote,
  type Note,
  type Request,
  type SharedEvent,
  type ToldTrouble,
  type WorkerSettings,
} from "./messages.js";
import { Session, StandbyTrouble } from "./session.js";

/** What the thread is started with. */
export interface WorkerData {
  readonly settings: WorkerSettings;
  /** Requests come and answers go here; `signal` is raised for each answer. */
  readonly port: MessagePort;
  readonly signal: Int32Array;
}

const { settings, port, signal } = workerData as WorkerData;

let session: Session | undefined;
let generation = 0;
/** Failed attempts to connect in a row. */
let failures = 0;
let isClosing = false;
let timer: NodeJS.Timeout | undefined;
let wanted: readonly string[] = [];
let held = new Set<string>();
/**
 * Whether a session of this gateway has had its name. Only then is the row of the name its own: a
 * second gateway of the name would overwrite that of the first.
 */
let hadName = false;
let node: NodeNote = { position: 0, sessions: [] };
/** The database of the first session; another one at the same address is refused. */
let databaseId: string | undefined;
/** Why there is no session. */
let absence: ToldTrouble = told(awayTrouble("there is no connection yet"));
/** Requests to open that wait for the first session or refusal. */
const opening: ((trouble: ToldTrouble | undefined) => void)[] = [];
/** A beat is under way; another one begins after it. */
let isBeating = false;
let beatsAgain = false;
/** When the next old commits are to be removed, monotonic. */
let purgeAt = 0;

function emit(event: SharedEvent): void {
  parentPort?.postMessage(event);
}

function told({ kind, message, remedy }: Trouble): ToldTrouble {
  return { kind, message, remedy };
}

const listener = {
  news: (newest: number) => emit({ type: "news", newest }),
  ended: (problem: string) => {
    if (session === undefined) return;
    session = undefined;
    held = new Set();
    clearTimeout(timer);
    absence = told(awayTrouble(problem));
    emit({ type: "lost", generation, problem });
    connectLater();
  },
};

function drop(problem: string): void {
  session?.end(problem, listener);
}

async function connect(): Promise<void> {
  const { hosts } = settings.database;
  let first: Trouble | undefined;
  for (const index of hosts.keys()) {
    try {
      // Tables are created at the start alone: later an empty database is one that was replaced.
      const given = databaseId === undefined ? settings : { ...settings, mayCreate: false };
      const opened = await Session.open(given, index, generation + 1, systemClock, listener);
      databaseId ??= opened.facts.databaseId;
      if (opened.facts.databaseId !== databaseId) {
        opened.end("another database", listener);
        throw anotherDatabase(opened.facts.server);
      }
      session = opened;
      generation += 1;
      failures = 0;
      emit({ type: "connected", session: session.facts });
      for (const resolve of opening.splice(0)) resolve(undefined);
      if (isClosing) return drop("the gateway stops");
      return void beat();
    } catch (error) {
      if (!(error instanceof Trouble)) return fail(error);
      // A standby or a host that is down matters only if no host can be used.
      const isLess = first === undefined || first.kind === "away";
      if (isLess || (first instanceof StandbyTrouble && error.kind !== "away")) first = error;
    }
  }
  failures += 1;
  absence = told(first ?? awayTrouble("no host is configured"));
  if (absence.kind !== "away") emit({ type: "refused", trouble: absence });
  for (const resolve of opening.splice(0)) resolve(absence);
  connectLater();
}

function anotherDatabase(server: string): Trouble {
  const what = `log.shared: ${server} is another database than before, of the same site`;
  return new Trouble("not-ours", what, "Correct log.shared, or restart all gateways of the site.");
}

function connectLater(): void {
  if (isClosing) return;
  const { backoffMs } = SHARED_LIMITS;
  const wait = backoffMs[Math.min(failures, backoffMs.length - 1)] ?? 0;
  // Gateways that lost the database together do not come back together.
  timer = setTimeout(() => void connect(), wait * (0.5 + systemClock.random()));
}

/** Shows that this gateway is alive, and asks for the leases that it wants and does not have. */
async function beat(): Promise<void> {
  clearTimeout(timer);
  if (isBeating) {
    beatsAgain = true;
    return;
  }
  isBeating = true;
  beatsAgain = false;
  const own = session;
  try {
    if (own !== undefined) await beatOf(own);
  } catch (error) {
    if (!(error instanceof Trouble)) return fail(error);
    if (session === own) drop(error.message);
  } finally {
    isBeating = false;
  }
  if (session === undefined || isClosing) return;
  if (beatsAgain || session !== own) return void beat();
  timer = setTimeout(() => void beat(), SHARED_LIMITS.beatMs);
}

async function beatOf(own: Session): Promise<void> {
  const unwanted = [...held].filter((lease) => !wanted.includes(lease));
  for (const lease of unwanted) held.delete(lease);
  if (unwanted.length > 0) await own.give(unwanted);
  const missing = wanted.filter((lease) => !held.has(lease));
  const taken = missing.length > 0 ? await own.take(missing) : [];
  if (session !== own) return;
  for (const lease of taken) {
    held.add(lease);
    emit({ type: "granted", generation, lease });
  }
  const hasName = settings.isNode && (await own.claim());
  hadName ||= hasName;
  const { newest, nodes } = await own.beat(node, [...held], hadName);
  if (session !== own) return;
  emit({ type: "beat", newest, nodes, hasName });
  if (!held.has(EXPIRY) || systemClock.monotonic() < purgeAt) return;
  const hasMore = await own.purge();
  if (!hasMore) purgeAt = systemClock.monotonic() + SHARED_LIMITS.purgeMs;
}

async function answer({ request, ...asked }: Asked): Promise<unknown> {
  if (request.type === "open") return await opened();
  const own = session;
  if (own === undefined) throw new Trouble(absence.kind, absence.message, absence.remedy);
  if (asked.generation !== generation) throw awayTrouble("the session was lost");
  try {
    return await perform(own, request);
  } catch (error) {
    const isAway = !(error instanceof Trouble) || error.kind === "away";
    // Whether the request was carried out is not known: a new session finds out.
    if (isAway && session === own) drop(error instanceof Error ? error.message : String(error));
    throw error;
  }
}

async function perform(own: Session, request: Exclude<Request, { type: "open" }>) {
  switch (request.type) {
    case "commit":
      return await own.commit(request.after, request.rows);
    case "changes":
      return await own.changes(request.position, request.limit, request.base);
    case "discard":
      return await own.discard(request.position, request.rows);
    case "name":
      return await own.name();
    default:
      return request satisfies never;
  }
}

async function opened(): Promise<unknown> {
  if (session === undefined && failures === 0) {
    await new Promise<void>((resolve) => opening.push(() => resolve()));
  }
  if (session !== undefined) return session.facts;
  throw new Trouble(absence.kind, absence.message, absence.remedy);
}

async function reply(asked: Asked): Promise<void> {
  const { id } = asked;
  let message: Answer;
  try {
    message = { id, value: await answer(asked) };
  } catch (error) {
    const trouble = troubleOf(error);
    if (!(trouble instanceof Trouble)) return fail(error);
    message = { id, trouble: told(trouble) };
  }
  port.postMessage(message);
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
}

/** A mistake in our code ends the process, as it does in the main thread. */
function fail(error: unknown): void {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  emit({ type: "bug", message });
}

async function close(): Promise<void> {
  isClosing = true;
  clearTimeout(timer);
  const own = session;
  session = undefined;
  try {
    await own?.close(hadName);
  } catch {
    // The server ends the session by itself.
  }
  port.close();
  parentPort?.close();
}

port.on("message", (asked: Asked) => void reply(asked));
parentPort?.on("message", (note: Note) => {
  if (note.type === "drop") return drop(note.problem);
  if (note.type === "close") return void close();
  if (note.type === "node") node = note.node;
  else wanted = note.leases;
  if (note.type === "want" && session !== undefined) void beat();
});
void connect();
