/** Framing: every definite length in, the one spelling that pksd reads out, the rest refused. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Refusal } from "../../src/errors.js";
import {
  comparePackets,
  encodedSize,
  encodePacket,
  encodePackets,
  type Packet,
  readPackets,
} from "../../src/openpgp/packet.js";
import { newFramed, oldFramed, packet } from "./material.js";

const filled = (length: number): Buffer => Buffer.alloc(length, 0x5a);
const five = (length: number): number[] => [
  255,
  0,
  length >> 16,
  (length >> 8) & 255,
  length & 255,
];

describe("reading", () => {
  const forms: [string, number, Buffer, number][] = [
    ["old, one octet, empty", 13, oldFramed(13, 0, filled(0)), 0],
    ["old, one octet", 13, oldFramed(13, 0, filled(255)), 255],
    ["old, two octets, longer than needed", 13, oldFramed(13, 1, filled(3)), 3],
    ["old, two octets", 6, oldFramed(6, 1, filled(65535)), 65535],
    ["old, four octets, longer than needed", 2, oldFramed(2, 2, filled(3)), 3],
    ["old, four octets", 2, oldFramed(2, 2, filled(65536)), 65536],
    ["new, one octet, empty", 60, newFramed(60, [0], filled(0)), 0],
    ["new, one octet", 13, newFramed(13, [191], filled(191)), 191],
    ["new, two octets, shortest", 17, newFramed(17, [192, 0], filled(192)), 192],
    ["new, two octets", 17, newFramed(17, [0xc5, 0xfb], filled(1723)), 1723],
    ["new, two octets, longest", 63, newFramed(63, [223, 255], filled(8383)), 8383],
    ["new, five octets, longer than needed", 2, newFramed(2, five(7), filled(7)), 7],
    ["new, five octets", 2, newFramed(2, five(100_000), filled(100_000)), 100_000],
  ];
  it.each(forms)("%s", (_, tag, octets, length) => {
    expect(readPackets(octets)).toEqual([{ tag, body: filled(length) }]);
    const twice = readPackets(Buffer.concat([octets, octets]));
    expect(twice.map(({ body }) => body.length)).toEqual([length, length]);
  });

  const broken: [string, Buffer, string][] = [
    ["no packet bit", Buffer.of(0x1b, 0), "no packet starts here (offset 0)"],
    ["a line of text", Buffer.from("hello"), "no packet starts here (offset 0)"],
    ["indeterminate length", oldFramed(13, 3, filled(5)), "indeterminate"],
    ["partial length, shortest", newFramed(13, [224], filled(1)), "partial"],
    ["partial length, longest", newFramed(13, [254], filled(1)), "partial"],
    ["tag octet alone, old", Buffer.of(0xb4), "header is cut off"],
    ["tag octet alone, new", Buffer.of(0xcd), "header is cut off"],
    ["half a length, old", Buffer.of(0xb6, 0, 0), "header is cut off"],
    ["half a length, new", Buffer.of(0xcd, 255, 0, 0), "header is cut off"],
    ["body cut off", oldFramed(13, 0, filled(5)).subarray(0, 6), "packet is cut off"],
    ["4 GiB claimed", newFramed(13, [255, 255, 255, 255, 255], filled(9)), "packet is cut off"],
  ];
  it.each(broken)("refuses %s", (_, octets, message) => {
    const good = oldFramed(6, 0, filled(2));
    expect(() => readPackets(octets)).toThrow(Refusal);
    expect(() => readPackets(octets)).toThrow(message);
    expect(() => readPackets(Buffer.concat([good, octets]))).toThrow(/offset 4/);
  });

  it("gives views of a view, not copies", () => {
    const octets = Uint8Array.from([0, 0, 0, ...oldFramed(13, 0, filled(9))]).subarray(3);
    const [first] = readPackets(octets);
    expect(first?.body.buffer).toBe(octets.buffer);
    expect(first?.body.byteOffset).toBe(octets.byteOffset + 2);
  });

  it("finds nothing in nothing", () => {
    expect(readPackets(new Uint8Array())).toEqual([]);
  });
});

describe("writing", () => {
  const headers: [number, number, number[]][] = [
    [13, 0, [0xb4, 0]],
    [13, 255, [0xb4, 255]],
    [13, 256, [0xb5, 1, 0]],
    [6, 65535, [0x99, 255, 255]],
    [15, 65536, [0xbe, 0, 1, 0, 0]],
    [17, 191, [0xd1, 191]],
    [17, 192, [0xd1, 192, 0]],
    [17, 8383, [0xd1, 223, 255]],
    [16, 8384, [0xd0, 255, 0, 0, 0x20, 0xc0]],
  ];
  it.each(headers)("tag %i of %i octets", (tag, length, header) => {
    const octets = encodePacket({ tag, body: filled(length) });
    expect([...octets.subarray(0, octets.length - length)]).toEqual(header);
    expect(encodedSize([{ tag, body: filled(length) }])).toBe(octets.length);
  });

  it("is undone by reading, for any packets", () => {
    const anyPacket = fc.record({
      tag: fc.nat(63),
      body: fc.oneof(fc.uint8Array({ maxLength: 400 }), fc.nat(70_000).map(filled)),
    });
    fc.assert(
      fc.property(fc.array(anyPacket, { maxLength: 8 }), (packets) => {
        const octets = encodePackets(packets);
        expect(octets.length).toBe(encodedSize(packets));
        const back = readPackets(octets);
        expect(back.map(({ tag }) => tag)).toEqual(packets.map(({ tag }) => tag));
        const same = back.map(({ body }, i) => Buffer.compare(body, packets[i]?.body ?? body));
        expect(same.every((order) => order === 0)).toBe(true);
      }),
    );
  });
});

it("orders siblings by tag, then octets, a prefix first", () => {
  const ordered: Packet[] = [
    packet(2, [0xff] as never),
    packet(13, ""),
    packet(13, "Ann"),
    packet(13, "Ann Example"),
    packet(13, "Ann\u0080"),
    packet(13, "B"),
    packet(17, ""),
    packet(60, ""),
  ];
  expect(ordered.toReversed().toSorted(comparePackets)).toEqual(ordered);
});
