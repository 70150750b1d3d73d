/**
 * Inputs made from other inputs, as a fuzzer does it that cannot see which branches were taken:
 * bits flipped, pieces spliced in from other inputs, cut, repeated, doubled, and the words that the
 * formats know put in.
 */

const WORDS: readonly (string | readonly number[])[] = [
  "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
  "-----END PGP PUBLIC KEY BLOCK-----\n",
  "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
  "\n=AAAA\n",
  "\r\n",
  "\n",
  "\r",
  "\n.\r\n",
  "\r\n.\r\n",
  "..",
  "\0",
  [0x99, 0x00, 0x0d],
  [0xc6, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0xc6, 0xe0],
  [0x98, 0x33, 0x04],
  [0x95, 0x01, 0x01, 0x04],
  [0xb4, 0x00],
  [0x88, 0x05, 0x04, 0x13, 0x16, 0x08, 0x00],
  [0xd1, 0x01, 0x00],
  [0xff],
  [0x80],
  "X-KeyServer-Sent: a@b.example\r\n",
  "Subject: incremental\r\n",
  "Subject: ADD\r\n",
  "Content-Type: multipart/mixed; boundary=x\r\n",
  "--x\r\n",
  "--x--\r\n",
  "Content-Transfer-Encoding: base64\r\n",
  "Content-Transfer-Encoding: quoted-printable\r\n",
  "Content-Type: message/rfc822\r\n",
  "Auto-Submitted: auto-replied\r\n",
  "(",
  "<",
  "\u00e9",
  "aaaa\r\nHELO\r\n1.0\r\n.\r\n",
  "IHAVE\r\nNOTIFY\r\n",
  "LIST\r\n1-\r\n.\r\n",
  "GETUPDATE\r\n2147483648\r\n.\r\n",
  "UPDATE\r\n",
  "ERROR\r\nNOTIFY\r\n500\r\n",
  "CLOSE\r\n.\r\n",
  "aaaa\r\nOPEN\r\nfeatures octets\r\n.\r\n",
  "log d41d8cd98f00b204e9800998ecf8427e\r\n",
  "DONE\r\n4\r\n",
  "RANGE\r\n- 90 d41d8cd98f00b204e9800998ecf8427e\r\n.\r\n",
  "ITEMS\r\naaaa\r\n",
  "UPDATE 8\r\n",
  "IHAVE 99 9999\r\n",
  "2147483647 ",
  "d41d8cd98f00b204e9800998ecf8427e",
  "[[peer]]\n",
  "[kx]\n",
  '"""',
  "'''",
  "= [",
  "{ a = 1 }",
  "9h",
  '"127.0.0.1:1"',
];

const MOST_BYTES = 64 * 1024;

/** A new input from `input`, and parts of `others`, by one to eight changes. */
export function mutate(
  input: Uint8Array,
  others: readonly Uint8Array[],
  random: () => number,
): Uint8Array {
  let bytes = Buffer.from(input);
  const changes = 1 + Math.floor(random() ** 2 * 8);
  for (let n = 0; n < changes; n += 1) {
    bytes = change(bytes, others, random).subarray(0, MOST_BYTES);
  }
  // A copy: a view would keep all of a large input.
  return Uint8Array.from(bytes.subarray(0, MOST_BYTES));
}

function change(
  bytes: Buffer<ArrayBuffer>,
  others: readonly Uint8Array[],
  random: () => number,
): Buffer<ArrayBuffer> {
  const at = Math.floor(random() * (bytes.length + 1));
  const length = Math.floor(random() ** 3 * (bytes.length - at + 1));
  const piece = bytes.subarray(at, at + length);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at + length)];
  switch (Math.floor(random() * 9)) {
    case 0: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      return flipped;
    }
    case 1: {
      const set = Buffer.from(bytes);
      if (at < set.length) set[at] = Math.floor(random() * 256);
      return set;
    }
    case 2:
      return Buffer.concat([before, after]);
    case 3:
      return Buffer.from(before);
    case 4: {
      const times = 1 + Math.floor(random() ** 4 * 200);
      return Buffer.concat([before, ...Array.from({ length: times }, () => piece), after]);
    }
    case 5: {
      const other = Buffer.from(others[Math.floor(random() * others.length)] ?? []);
      const from = Math.floor(random() * other.length);
      const part = other.subarray(from, from + Math.floor(random() * (other.length - from)));
      return Buffer.concat([before, part, after]);
    }
    case 6: {
      const other = Buffer.from(others[Math.floor(random() * others.length)] ?? []);
      return Buffer.concat([before, other.subarray(Math.floor(random() * other.length))]);
    }
    default: {
      const word = WORDS[Math.floor(random() * WORDS.length)] ?? "";
      const put = typeof word === "string" ? Buffer.from(word) : Buffer.from(word);
      return Buffer.concat([before, put, random() < 0.5 ? piece : Buffer.alloc(0), after]);
    }
  }
}
