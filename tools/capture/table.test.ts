import { expect, it } from "vitest";
import type { Frame, Route } from "./decode.js";
import type { Connection } from "./reassembly.js";
import { table } from "./table.js";

const connection = { id: 1, client: "c", server: "s" };
const frame: Frame = {
  protocol: "dubbo",
  kind: "request",
  id: "7",
  service: "a.B",
  method: "hi",
  status: "",
  code: 0,
  length: 264,
  offset: 0,
  from: "client",
  connection,
  time: undefined,
  metadata: {},
};
const plain = { width: 100, color: false };

it("is aligned and leaves out what nobody has", () => {
  const reply = {
    ...frame,
    kind: "response",
    from: "server" as const,
    service: "",
    method: "",
    status: "ok",
    length: 20,
  };
  expect(table([frame, reply], undefined, plain)).toBe(
    [
      "FROM    KIND      ID  SERVICE  METHOD  STATUS  OFFSET  BYTES",
      "client  request    7  a.B      hi                   0    264",
      "server  response   7                   ok           0     20",
      "",
    ].join("\n"),
  );
});

it("names connections when there are several, and counts time from the first frame", () => {
  const lines = table(
    [
      { ...frame, time: 5_000_000_000n },
      { ...frame, time: 6_250_001_000n, connection: { ...connection, id: 12 } },
    ],
    undefined,
    plain,
  ).split("\n");
  expect(lines[0]).toMatch(/^ SECONDS {2}CONN {2}FROM/);
  expect(lines[2]).toMatch(/^1\.250001 {4}12 {2}client/);
});

it("cuts long names so that lines fit: services at their start, methods at their end", () => {
  const long = {
    ...frame,
    id: "18446744073709551615",
    service: `com.example.${"x".repeat(80)}.Greeter`,
    method: `begin${"y".repeat(80)}`,
    metadata: { one: "1", two: "z".repeat(300), three: "3" },
  };
  const text = table([long], undefined, plain);
  for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  expect(text).toMatch(/…x+\.Greeter {2}beginy+… /);
  expect(text).toMatch(/\n {4}one=1\n {4}two=z+…\n {4}three=3\n$/);
});

it("lets no control characters through to the terminal", () => {
  const text = table([{ ...frame, method: "\x1b[2Jhi\n", metadata: { "a\u202e": "\u0007b" } }], undefined, plain);
  for (const control of ["\x1b", "\u202e", "\u0007"]) expect(text).not.toContain(control);
  expect(text).toContain("·[2Jhi·");
});

it("says below the first request where its connection goes", () => {
  const other = { ...connection, id: 2 };
  const heartbeat = { ...frame, kind: "heartbeat" };
  const routes = new Map<Connection, Route>([
    [connection, { route: "logins", cluster: "greeter|v2" }],
    [other, "closed"],
  ]);
  const lines = table([heartbeat, frame, frame, { ...frame, connection: other }], routes, plain).split("\n");
  expect(lines.slice(3)).toEqual([
    "    route logins -> greeter|v2",
    lines[2],
    expect.stringMatching(/^ {3}2 {2}client/),
    "    no route matches: the connection would be closed",
    "",
  ]);
});

it("has colours only where they are wanted", () => {
  const failed = { ...frame, kind: "response", status: "server_timeout" };
  expect(table([frame, failed], undefined, plain)).not.toContain("\x1b");
  const painted = table([frame, failed], undefined, { ...plain, color: true }).split("\n");
  expect(painted[1]).not.toContain("\x1b");
  expect(painted[2]).toContain("\x1b[31mclient  response");
});
