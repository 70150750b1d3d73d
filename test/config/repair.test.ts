/** The ways of repair that a [[peer]] may name, and what they mean. */
import { expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.js";

it.each([
  ["hkp://ks.example.org", "http://ks.example.org:11371"],
  ["hkp://ks.example.org:80", "http://ks.example.org:80"],
  ["hkp://192.0.2.1:11371/", "http://192.0.2.1:11371"],
  ["hkp://[2001:db8::1]", "http://[2001:db8::1]:11371"],
  ["hkp://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"],
  ["hkps://keys.example.org", "https://keys.example.org:443"],
])("%s", (repair, url) => {
  const peer = `[[peer]]\nname = "n"\nkx = "h:1"\nrepair = "${repair}"\n`;
  const text = `[site]\naddress = "a@b.example"\n[log]\n${peer}`;
  const [neighbour] = parseConfig(text, "kxgw.toml", "/etc", {}).neighbours;
  expect(neighbour?.repair).toEqual({ type: "hkp", url });
});
