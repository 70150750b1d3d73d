/**
 * How much one answer of KX/1.1 takes, whatever a peer asks for: octets of packets, or numbers.
 */
import { expect, test } from "vitest";
import type { Session } from "../../src/kx/session.js";
import type { Entry } from "../../src/log/update-log.js";
import { type AskedUpdate, answerUpdate } from "../../src/peering/serving.js";

/** One answer to endless requests, each of which finds a body of so many octets, or nothing. */
function answer(octets: number | undefined) {
  const session = { features: { octets: true }, deliver: () => [] } as unknown as Session;
  const asked = (number: number) => ({ kind: "update", tag: "t000", number }) as AskedUpdate;
  let number = 1;
  const body = octets === undefined ? undefined : new Uint8Array(octets);
  return answerUpdate(
    session,
    asked(number),
    () => {
      number += 1;
      return asked(number);
    },
    () => (body === undefined ? undefined : { entry: {} as Entry, body }),
  );
}

test.each([
  ["that are gone", undefined, 256],
  ["of one octet", 1, 256],
  ["of 1000 octets", 1000, 66],
  ["of a megabyte", 1_000_000, 1],
])("updates %s", (_, octets, requests) => {
  expect(answer(octets).requests).toBe(requests);
});
