/**
 * A model of a server that is followed by recon: the reconciling side of the protocol over a tree,
 * and hashquery over the keys. It can be told to lie, to break off and to answer slowly. The pure
 * part is `ModelSession`; `ModelServer` is that on real sockets.
 */
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { ModelTree, type Node, type TreeShape } from "./model-tree.js";

export interface Lies {
  /** What is sent instead of a node's message; undefined for the truth. */
  readonly node?: ((node: Node, truth: Buffer) => Buffer | undefined) | undefined;
  /** Entries of the configuration beside or instead of the true ones. */
  readonly config?: ReadonlyMap<string, Buffer> | undefined;
  /** The configuration is refused for this reason. */
  readonly refusal?: string | undefined;
  /** So many frames are sent, then the connection ends. */
  readonly breakAfter?: number | undefined;
  /** After so many answers it says that it is done. */
  readonly doneAfter?: number | undefined;
}

const MAX_OUTSTANDING = 100;

export function int(value: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
}

export function string(value: Buffer | string): Buffer {
  const octets = Buffer.from(value);
  return Buffer.concat([int(octets.length), octets]);
}

export function message(type: number, ...parts: Buffer[]): Buffer {
  return string(Buffer.concat([Buffer.of(type), ...parts]));
}

export function prefixOctets(prefix: string): Buffer {
  const octets = Buffer.alloc(Math.ceil(prefix.length / 8));
  for (let bit = 0; bit < prefix.length; bit++) {
    if (prefix[bit] === "1") octets[bit >> 3] = (octets[bit >> 3] ?? 0) | (128 >> (bit & 7));
  }
  return Buffer.concat([int(prefix.length), string(octets)]);
}

export function full(prefix: string, md5s: readonly string[]): Buffer {
  const elements = md5s.map((md5) => Buffer.from(`${md5}00`, "hex"));
  return message(1, prefixOctets(prefix), int(md5s.length), ...elements);
}

export function poly(prefix: string, size: number, samples: Buffer): Buffer {
  return message(0, prefixOctets(prefix), int(size), int(samples.length / 17), samples);
}

export function configMessage(
  { bitQuantum, mbar }: TreeShape,
  more: ReadonlyMap<string, Buffer> = new Map(),
): Buffer {
  const entries = new Map<string, Buffer>([
    ["version", Buffer.from("1.1.6")],
    ["http port", int(11371)],
    ["bitquantum", int(bitQuantum)],
    ["mbar", int(mbar)],
    ["filters", Buffer.from("yminsky.dedup")],
    ...more,
  ]);
  const parts = [...entries].flatMap(([name, value]) => [string(name), string(value)]);
  return message(10, int(entries.size), ...parts);
}

/** What a session sends for what it receives. */
export class ModelSession {
  readonly #tree: ModelTree;
  readonly #lies: Lies;
  #in = Buffer.alloc(0);
  #state: "config" | "status" | "tree" | "done" = "config";
  #queue: Node[] = [];
  #waiting: Node[] = [];
  #out: Buffer[] = [];
  #sent = 0;
  #answers = 0;
  /** Why the client's side is wrong. */
  fault: string | undefined;
  isOver = false;

  constructor(tree: ModelTree, lies: Lies = {}) {
    this.#tree = tree;
    this.#lies = lies;
  }

  begin(): Buffer {
    this.#send(configMessage(this.#tree.shape, this.#lies.config));
    return this.#flush();
  }

  receive(octets: Buffer): Buffer {
    this.#in = Buffer.concat([this.#in, octets]);
    while (this.#in.length >= 4 && !this.isOver) {
      const length = this.#in.readUInt32BE(0);
      if (this.#in.length < 4 + length) break;
      const frame = this.#in.subarray(4, 4 + length);
      this.#in = this.#in.subarray(4 + length);
      this.#frame(frame);
    }
    return this.#flush();
  }

  #frame(frame: Buffer): void {
    if (this.#state === "config") {
      if (frame[0] !== 10) this.fault = "no config";
      this.#state = "status";
      const { refusal } = this.#lies;
      if (refusal === undefined) return this.#send(string("passed"));
      this.#send(string("failed"));
      this.#send(string(refusal));
      this.isOver = true;
      return;
    }
    if (this.#state === "status") {
      if (frame.toString() !== "passed") this.fault = "a config that did not pass";
      this.#state = "tree";
      this.#queue.push(this.#tree.root);
      return this.#more();
    }
    const node = this.#waiting.shift();
    if (node === undefined) {
      this.fault = "an answer too many";
      return;
    }
    if (frame[0] === 4) {
      const [first, ...others] = node.children ?? [];
      if (first === undefined) this.fault = "sync failed at a leaf";
      else {
        this.#queue.push(first);
        this.#queue.unshift(...others);
      }
    } else if (frame[0] !== 2) {
      this.fault = `an answer of type ${frame[0]}`;
    }
    this.#answers += 1;
    if (this.#answers === this.#lies.doneAfter) return this.#done();
    if (this.#waiting.length === 0) this.#more();
  }

  /** Sends nodes and a flush, or that it is done. */
  #more(): void {
    if (this.#queue.length === 0) return this.#done();
    for (const node of this.#queue.splice(0, MAX_OUTSTANDING)) {
      this.#waiting.push(node);
      const truth = this.#tree.isSmall(node)
        ? full(node.prefix, node.elements === undefined ? elements(node) : [...node.elements])
        : poly(node.prefix, node.size, this.#tree.samplesOf(node));
      this.#send(this.#lies.node?.(node, truth) ?? truth);
    }
    this.#send(message(6));
  }

  #done(): void {
    this.#send(message(5));
    this.isOver = true;
  }

  #send(frame: Buffer): void {
    const { breakAfter = Infinity } = this.#lies;
    if (this.#sent >= breakAfter) {
      this.isOver = true;
      return;
    }
    this.#sent += 1;
    this.#out.push(frame);
  }

  #flush(): Buffer {
    return Buffer.concat(this.#out.splice(0));
  }
}

function elements({ elements: own, children = [] }: Node): string[] {
  return own === undefined ? children.flatMap(elements) : [...own];
}

/** What a model answers to a hashquery instead of the truth. */
export type Answering = (
  asked: readonly string[],
  response: ServerResponse,
  truth: () => Buffer,
) => void;

export class ModelServer {
  readonly tree: ModelTree;
  /** Whole keys by the hex MD5 of their digest. */
  readonly keys = new Map<string, Uint8Array>();
  /** MD5s that were asked for, one list a question. */
  readonly questions: string[][] = [];
  lies: Lies = {};
  answering: Answering | undefined;
  sessions = 0;
  octetsOut = 0;
  octetsIn = 0;
  /** The first fault of a client. */
  fault: string | undefined;
  readonly #sockets = new Set<Socket>();
  #recon: Server | undefined;
  #http: Server | undefined;
  reconPort = 0;
  httpPort = 0;

  constructor(tree = new ModelTree()) {
    this.tree = tree;
  }

  /** Ports that were used before are used again. */
  async start(): Promise<void> {
    const recon = createServer((socket) => this.#follow(socket));
    const http = createHttp((request, response) => this.#answer(request, response));
    http.on("connection", (socket) => this.#keep(socket));
    this.reconPort = await listening(recon, this.reconPort);
    this.httpPort = await listening(http, this.httpPort);
    this.#recon = recon;
    this.#http = http;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of [this.#recon, this.#http]) {
      await new Promise((done) => (server === undefined ? done(0) : server.close(done)));
    }
  }

  /** Breaks all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {});
  }

  #follow(socket: Socket): void {
    this.#keep(socket);
    this.sessions += 1;
    const session = new ModelSession(this.tree, this.lies);
    const send = (octets: Buffer) => {
      this.octetsOut += octets.length;
      this.fault ??= session.fault;
      if (octets.length > 0) socket.write(octets);
      if (session.isOver) socket.end();
    };
    send(session.begin());
    socket.on("data", (octets) => {
      this.octetsIn += octets.length;
      send(session.receive(octets));
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const asked = Array.from({ length: body.readUInt32BE(0) }, (_, index) =>
      body.toString("hex", 8 + index * 20, 24 + index * 20),
    );
    this.questions.push(asked);
    const truth = () => answerOf(asked.flatMap((md5) => this.keys.get(md5) ?? []));
    if (this.answering !== undefined) return this.answering(asked, response, truth);
    response.end(truth());
  }
}

/** An answer to a hashquery. */
export function answerOf(keys: readonly Uint8Array[]): Buffer {
  const parts = keys.map((key) => string(Buffer.from(key)));
  return Buffer.concat([int(keys.length), ...parts, Buffer.from("\r\n")]);
}

async function listening(server: Server, port: number): Promise<number> {
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", done);
  });
  return (server.address() as AddressInfo).port;
}
