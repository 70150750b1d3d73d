/**
 * The form that a client posts to /pks/add, from bytes to its keytext. Read are
 * application/x-www-form-urlencoded, which the draft asks for and gpg, sq and Hockeypuck send, and
 * multipart/form-data, which `curl -F` and upload forms of web pages send. A body without a content
 * type is taken for the first. Pure; knows no sockets.
 */
import { Refusal } from "../errors.js";

/** What is in the form. */
export interface AddForm {
  readonly keytext: Uint8Array;
  /** Whether the client asks for an answer that a program reads: options=mr. */
  readonly isMachineReadable: boolean;
}

/** keytext and options; more are a mistake or an attack. */
const MAX_PARTS = 20;
const MAX_PART_HEAD = 2000;

/** Throws Refusal 'bad-request', in words for who wrote the client. */
export function readAddForm(contentType: string | undefined, body: Buffer): AddForm {
  const [type = ""] = (contentType ?? "application/x-www-form-urlencoded").split(";");
  switch (type.trim().toLowerCase()) {
    case "application/x-www-form-urlencoded": {
      const form = new URLSearchParams(body.toString("latin1"));
      const keytexts = form.getAll("keytext").map((text) => Buffer.from(text, "utf8"));
      return addForm(keytexts, form.getAll("options"));
    }
    case "multipart/form-data": {
      const parts = multipart(boundaryOf(contentType ?? ""), body.toString("latin1"));
      const values = (wanted: string) =>
        parts.filter(([name]) => name === wanted).map(([, value]) => value);
      const keytexts = values("keytext").map((text) => Buffer.from(text, "latin1"));
      return addForm(keytexts, values("options"));
    }
    default:
      throw new Refusal(
        "bad-request",
        "the request is not application/x-www-form-urlencoded, nor multipart/form-data",
      );
  }
}

function addForm(keytexts: readonly Uint8Array[], options: readonly string[]): AddForm {
  if (keytexts.length > 1) throw new Refusal("bad-request", "there is more than one keytext");
  const [keytext] = keytexts;
  if (keytext === undefined || keytext.length === 0) {
    throw new Refusal("bad-request", "missing required parameter: keytext");
  }
  const words = options.flatMap((value) => value.split(","));
  return { keytext, isMachineReadable: words.includes("mr") };
}

function boundaryOf(contentType: string): string {
  const [, quoted, plain] =
    /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw new Refusal("bad-request", "multipart without a boundary");
  return boundary;
}

/** Name and value of each part (RFC 7578). */
function multipart(boundary: string, body: string): [name: string, value: string][] {
  const [, ...pieces] = `\r\n${body}`.split(`\r\n--${boundary}`, MAX_PARTS + 2);
  if (pieces.length > MAX_PARTS + 1) {
    throw new Refusal("bad-request", `the form has more than ${MAX_PARTS} parts`);
  }
  return pieces.flatMap((piece): [string, string][] => {
    const end = piece.indexOf("\r\n\r\n");
    if (piece.startsWith("--") || end < 0) return [];
    const head = piece.slice(0, Math.min(end, MAX_PART_HEAD));
    const [, name = ""] =
      /^content-disposition:[^\r\n]*?;\s*name="?([^"\r\n;]*)/im.exec(head) ?? [];
    return [[name, piece.slice(end + 4)]];
  });
}
