import { expect, it } from "vitest";
import { connect } from "../peers/dubbo/client.js";
import { startServer } from "../peers/dubbo/server.js";
import { connectThrift, type Dialect, startThriftServer } from "../peers/thrift/node.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, startTap } from "./tap.js";

it("two protocols through one listener are told apart, and what is neither passes", async () => {
  const dialect: Dialect = { transport: "framed", protocol: "binary" };
  const [dubbo, thrift] = [ended(await startServer()), ended(await startThriftServer(dialect))];
  let target = dubbo.port;
  const behind = await startTap(() => target, { dubbo: false });
  const proxy = await startProxy({ protocol: "auto", endpoints: [behind.port] });
  const before = await startTap(proxy.port, { dubbo: false });

  const calling = await connect({ port: before.port });
  expect(await calling.call("org.meltemi.demo.Greeter", "sayHello", ["fig"])).toContain("fig");
  target = thrift.port;
  const other = await connectThrift(before.port, dialect);
  expect(await other.call("add", 2, -5)).toBe(-3);
  // Both are open at a time.
  expect(await calling.call("org.meltemi.demo.Greeter", "sayHello", ["date"])).toContain("date");
  const strange = await connectRaw(before.port);
  await strange.send(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total")).toBe(1));
  strange.reset();
  await other.close();
  await calling.close();

  await eventually(async () => {
    const { scalars } = await proxy.metrics();
    const counted = (scalars.get("meltemi_requests_total") ?? [])
      .filter(({ value }) => value > 0)
      .map(({ labels: { protocol, service, method, status }, value }) => [protocol, service, method, status, value]);
    expect(counted.sort()).toEqual([
      ["dubbo", "org.meltemi.demo.Greeter", "sayHello", "ok", 2],
      ["thrift", "greeter", "add", "ok", 1],
    ]);
  });
  expect(await proxy.metric("meltemi_decode_errors_total", { protocol: "unknown", reason: "magic" })).toBe(1);
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  await eventually(() =>
    expect(proxy.accessLog().map(({ protocol, method }) => [protocol, method])).toEqual(
      expect.arrayContaining([
        ["dubbo", "sayHello"],
        ["thrift", "add"],
        [null, null],
      ]),
    ),
  );
  await proxy.assertSound();
});
