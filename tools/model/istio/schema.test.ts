import { expect, it } from "vitest";
import { parseIp } from "./schema.js";

// The module compares texts: these are as Envoy writes them.
it.each([
  ["10.96.0.10", "10.96.0.10"],
  ["FD00:0::10", "fd00::10"],
  ["0:0:0:0:0:0:0:1", "::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
])("%s is %s", (text, value) => {
  expect(parseIp(text)).toEqual({ value });
});

it.each(["", "greeter", "10.96.0", "[::1]", "fe80::1%eth0", "0.0.0.0", "::", "::ffff:10.0.0.1"])(
  "%j is not one address",
  (text) => {
    expect(parseIp(text)).toHaveProperty("wrong");
  },
);
