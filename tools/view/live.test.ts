import { EventEmitter } from "node:events";
import { stripVTControlCharacters } from "node:util";
import { expect, test, vi } from "vitest";
import { startView } from "./live.js";

class Recorder extends EventEmitter {
  readonly writes: string[] = [];
  columns = 100;
  rows = 20;
  constructor(readonly isTTY: boolean) {
    super();
  }
  write(text: string): void {
    this.writes.push(text);
  }
}

const labels = 'protocol="dubbo",direction="outbound",service="a.B",method="hi"';
const requests = (n: number) => `meltemi_requests_total{${labels},status="ok"} ${n}\n`;

/** One of the pages for each call, then the last one for ever. */
function pages(...texts: (string | Error)[]) {
  return async () => {
    const text = texts.length > 1 ? texts.shift() : texts[0];
    if (typeof text !== "string") throw text;
    return text;
  };
}

test("a terminal gets one write for each frame, drawn over the last, and its cursor back", async () => {
  const out = new Recorder(true);
  const view = startView({ source: pages("", requests(5)), title: "greeter", footer: ["bye"], out, intervalMs: 1 });
  await vi.waitFor(() => expect(out.writes.at(-1)).toContain("a.B"));
  await view.stop();
  const [hide, first, second] = out.writes as [string, string, string];
  expect(hide).toBe("\x1b[?25l");
  const height = first.split("\n").length - 1;
  expect(stripVTControlCharacters(first)).toMatch(
    /meltemi {2}greeter\n(.|\n)*waiting for the first request\n(.|\n)*bye\n/,
  );
  expect(second).toContain(`\x1b[${height}A\r`);
  expect(out.writes.at(-1)).toBe("\x1b[?25h");
  expect(out.listenerCount("resize")).toBe(0);
});

test("a terminal that changes its size is drawn anew", async () => {
  const out = new Recorder(true);
  const view = startView({ source: () => new Promise(() => {}), title: "a title of some length", out });
  out.columns = 16;
  out.emit("resize");
  expect(out.writes.at(-1)).toContain("\x1b[2J\x1b[Hmeltemi  a titl…");
  await view.stop();
});

test("a pipe gets a line only when something changed", async () => {
  const out = new Recorder(false);
  let asked = 0;
  const source = pages(new Error("connection refused"), new Error("connection refused"), "", requests(5), requests(9));
  const view = startView({
    source: () => {
      asked++;
      return source();
    },
    title: "greeter",
    footer: ["send here"],
    out,
    intervalMs: 1,
  });
  await vi.waitFor(() => expect(asked).toBeGreaterThan(10));
  await view.stop();
  expect(out.writes.slice(0, 2)).toEqual(["greeter\n", "send here\n"]);
  expect(out.writes.slice(2)).toEqual([
    expect.stringMatching(/^\d\d:\d\d:\d\d {2}no new figures: connection refused\n$/),
    expect.stringMatching(/^\d\d:\d\d:\d\d {2}[\d,]+ req\/s .* a\.B\/hi [\d,]+\n$/),
    expect.stringMatching(/^\d\d:\d\d:\d\d {2}[\d,]+ req\/s .* a\.B\/hi [\d,]+\n$/),
  ]);
});

test("a pipe is told of connections that were closed before any request", async () => {
  const out = new Recorder(false);
  const closed = 'meltemi_closed_connections_total{protocol="dubbo",direction="outbound",reason="no_route"} 3\n';
  const view = startView({ source: pages(closed), title: "greeter", out, intervalMs: 1 });
  await vi.waitFor(() => expect(out.writes[1]).toMatch(/ closed no_route 3\n$/));
  await view.stop();
  expect(out.writes.length).toBe(2);
});

test("a pipe is told when a step begins and when it is over", async () => {
  const out = new Recorder(false);
  let over = false;
  const view = startView({
    source: pages(""),
    title: "greeter",
    steps: () => [
      { name: "first", state: over ? "right" : "running", text: over ? "7 of 7" : "so far 3" },
      { name: "second", state: "waiting", text: "not yet" },
    ],
    out,
    intervalMs: 1,
  });
  await vi.waitFor(() => expect(out.writes[1]).toMatch(/ {2}▸ first: so far 3\n$/));
  over = true;
  await view.stop();
  expect(out.writes[2]).toMatch(/ {2}✓ first: 7 of 7\n$/);
  expect(out.writes.length).toBe(3);
});

test("counts the direction that it is asked for", async () => {
  const out = new Recorder(true);
  const inbound = requests(7).replace("outbound", "inbound");
  const source = pages(requests(5) + inbound);
  const view = startView({ source, title: "greeter", direction: "inbound", json: true, out, intervalMs: 1 });
  await vi.waitFor(() => expect(JSON.parse(out.writes[0] as string)).toMatchObject({ all: { requests: 7 } }));
  await view.stop();
});

test("JSON comes as one object for each tick, troubles too", async () => {
  const out = new Recorder(true);
  const view = startView({
    source: pages(requests(5), new Error("gone"), requests(9)),
    title: "greeter",
    json: true,
    out,
    intervalMs: 1,
  });
  await vi.waitFor(() => expect(out.writes.length).toBeGreaterThan(2));
  await view.stop();
  const [first, second, third] = out.writes.map((line) => JSON.parse(line));
  expect(first).toMatchObject({ time: expect.any(String), all: { requests: 5, requestsPerSecond: 0, p50: null } });
  expect(second).toEqual({ time: expect.any(String), trouble: "gone" });
  expect(third).toMatchObject({ methods: [{ service: "a.B", method: "hi", requests: 9 }] });
  expect(third.all.requestsPerSecond).toBeGreaterThan(0);
});

test("stops while the source does not answer", async () => {
  const out = new Recorder(false);
  const view = startView({ source: () => new Promise(() => {}), title: "greeter", out });
  await view.stop();
  expect(out.writes).toEqual(["greeter\n"]);
});
