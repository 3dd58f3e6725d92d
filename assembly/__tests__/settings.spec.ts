import { Frame } from "../codec/frame";
import { codecIndex, codecNames, protocolName } from "../codec/registry";
import { Mode, Settings, SettingsReader } from "../filter/settings";
import { Slice } from "../wire/slice";
import { Guarded } from "./util";

/** What is wrong with a configuration; empty where nothing is. */
function wrong(text: string): string {
  const input = Guarded.text(text);
  const settings = SettingsReader.read(input.ptr, input.size);
  input.free();
  expect(settings === null).toBe(SettingsReader.error.length > 0, "settings, or an error");
  return SettingsReader.error;
}

function read(text: string): Settings {
  const input = Guarded.text(text);
  const settings = SettingsReader.read(input.ptr, input.size);
  input.free();
  expect(SettingsReader.error).toBe("", text);
  return settings ? settings : new Settings();
}

/** What is wrong when this stands beside the protocol. */
function wrongWith(rest: string): string {
  return wrong('{"protocol":"dubbo",' + rest + "}");
}

/** What is wrong with this as the matcher of a method in the second route. */
function wrongMatcher(matcher: string): string {
  return wrongWith('"mode":"route","routes":[{"cluster":"a"},{"cluster":"b","match":{"method":' + matcher + "}}]");
}

const METHOD = "$.routes[1].match.method";

describe("settings", () => {
  it("need nothing but a protocol", () => {
    const settings = read('{"protocol":"awesomerpc"}');
    expect(settings.codec.name).toBe("awesomerpc");
    expect(settings.protocol).toBe(codecIndex("awesomerpc"));
    expect(settings.inbound).toBe(false);
    expect(settings.labels).toBe((codecIndex("awesomerpc") << 1) as u32);
    expect(String.UTF8.decode(settings.service)).toBe("unknown");
    expect(settings.mode).toBe(Mode.Observe);
    expect(settings.rules.length).toBe(0);
    expect(settings.routesByMetadata).toBe(false);
    expect(settings.frameLimit).toBe(67108864);
    expect(settings.headLimit).toBe(65536);
    expect(settings.inFlightLimit).toBe(65536);
    expect(settings.seriesLimit).toBe(1000);
    expect(settings.waitMilliseconds).toBe(10000);
    expect(settings.logRequests).toBe(0);
    expect(settings.logFrames).toBe(false);
  });

  it("take everything that docs/architecture.md shows", () => {
    const settings = read(
      '{ "protocol": "dubbo", "mode": "route", "direction": "inbound", "service": "gréeter",' +
        '"routes": [ { "name": "logins", "match": { "method": { "exact": "login" }, "dubbo.tag": { "not": { "prefix": "x" } } },' +
        '"cluster": "greeter|v2" }, { "cluster": "greeter|v1" } ],' +
        '"limits": { "frameBytes": 1000, "headBytes": 100, "inFlight": 10, "series": 20, "waitMilliseconds": 30 },' +
        '"log": { "requests": 40, "frames": true } }',
    );
    expect(settings.codec.name).toBe("dubbo");
    expect(settings.inbound).toBe(true);
    expect(settings.labels).toBe(1);
    expect(String.UTF8.decode(settings.service)).toBe("gréeter");
    expect(settings.mode).toBe(Mode.Route);
    expect(settings.rules.length).toBe(2);
    expect(String.UTF8.decode(settings.rules[0].name)).toBe("logins");
    expect(String.UTF8.decode(settings.rules[0].cluster)).toBe("greeter|v2");
    expect(settings.rules[0].conditions.length).toBe(2);
    expect(settings.rules[0].needsMetadata).toBe(true);
    expect(String.UTF8.decode(settings.rules[1].name)).toBe("1", "a route without a name is called by its position");
    expect(settings.rules[1].conditions.length).toBe(0);
    expect(settings.routesByMetadata).toBe(true);
    expect(settings.frameLimit).toBe(1000);
    expect(settings.headLimit).toBe(100);
    expect(settings.inFlightLimit).toBe(10);
    expect(settings.seriesLimit).toBe(20);
    expect(settings.waitMilliseconds).toBe(30);
    expect(settings.logRequests).toBe(40);
    expect(settings.logFrames).toBe(true);
  });

  it("let no head be shorter than the protocol's least", () => {
    expect(read('{"protocol":"qza","limits":{"headBytes":64}}').headLimit).toBe(106);
    expect(read('{"protocol":"dubbo","limits":{"headBytes":64}}').headLimit).toBe(64);
  });

  it("build each matcher under its name", () => {
    const settings = read(
      '{"protocol":"dubbo","mode":"route","routes":[' +
        '{"cluster":"c","match":{"method":{"exact":"abc"}}},{"cluster":"c","match":{"method":{"prefix":"ab"}}},' +
        '{"cluster":"c","match":{"method":{"suffix":"bc"}}},{"cluster":"c","match":{"method":{"regex":"a.c"}}},' +
        '{"cluster":"c","match":{"method":{"oneOf":["x","abc"]}}},{"cluster":"c","match":{"method":{"range":{"min":5}}}},' +
        '{"cluster":"c","match":{"method":{"range":{"max":7}}}},{"cluster":"c","match":{"method":{"present":true}}},' +
        '{"cluster":"c","match":{"method":{"not":{"present":true}}}}]}',
    );
    expect(settings.routesByMetadata).toBe(false);
    expect(which(settings, "abc")).toBe("exact prefix suffix regex oneOf present ");
    expect(which(settings, "abx")).toBe("prefix present ");
    expect(which(settings, "6")).toBe("min max present ");
    expect(which(settings, "4")).toBe("max present ");
    expect(which(settings, "8")).toBe("min present ");
    expect(which(settings, null)).toBe("not ");
  });

  it("need a protocol that the module speaks", () => {
    expect(wrong("{}")).toBe(`$.protocol: expected one of ${codecNames()}, auto, found nothing`);
    expect(codecNames().startsWith("dubbo, ")).toBe(true);
    expect(wrong('{"protocol":"dubo"}')).toBe(`$.protocol: expected one of ${codecNames()}, auto, found "dubo"`);
    expect(wrong('{"protocol":""}')).toBe(`$.protocol: expected one of ${codecNames()}, auto, found ""`);
    expect(wrong('{"protocol":7}')).toBe("$.protocol: expected a string, found a number");
  });

  it("may have it guessed, where bytes only pass", () => {
    const settings = read('{"protocol":"auto"}');
    expect(settings.guesses).toBe(true);
    expect(protocolName(settings.protocol)).toBe("unknown");
    expect(read('{"protocol":"dubbo"}').guesses).toBe(false);
    const modes: StaticArray<string> = ["route", "lift", "lower"];
    for (let i = 0; i < modes.length; i++) {
      expect(wrong(`{"protocol":"auto","mode":"${modes[i]}"}`)).toBe(
        `$.protocol: expected one of ${codecNames()}, because mode is "${modes[i]}"`,
      );
    }
  });

  it("must be a JSON object", () => {
    expect(wrong("")).toBe("$: expected an object, found nothing");
    expect(wrong("[]")).toBe("$: expected an object, found an array");
    expect(wrong("null")).toBe("$: expected an object, found null");
    expect(wrong('"dubbo"')).toBe("$: expected an object, found a string");
    expect(wrong('{"protocol":}')).toBe("$: expected JSON: expected a value at byte 12");
  });

  it("have no names but the known ones", () => {
    expect(wrongWith('"Mode":"route"')).toBe(
      "$.Mode: expected one of protocol, mode, direction, service, destinations, authority, metadata, routes, limits, log as a name",
    );
    expect(wrongWith('"limits":{"frames":1}')).toBe(
      "$.limits.frames: expected one of frameBytes, headBytes, inFlight, series, waitMilliseconds as a name",
    );
    expect(wrongWith('"log":{"request":1}')).toBe("$.log.request: expected one of requests, frames as a name");
    expect(wrongWith('"mode":"route","routes":[{"subset":"a"}]')).toBe(
      "$.routes[0].subset: expected one of name, match, cluster as a name",
    );
  });

  it("say what is wrong with mode, direction and service", () => {
    expect(wrongWith('"mode":"bridge"')).toBe('$.mode: expected observe, route, lift or lower, found "bridge"');
    expect(wrongWith('"mode":true')).toBe("$.mode: expected a string, found a boolean");
    expect(wrongWith('"direction":"in"')).toBe('$.direction: expected outbound or inbound, found "in"');
    expect(wrongWith('"direction":null')).toBe("$.direction: expected a string, found null");
    expect(wrongWith('"service":""')).toBe("$.service: expected a text of 1 to 1024 bytes, found 0");
    expect(wrongWith('"service":"' + "é".repeat(512) + '"')).toBe("");
    expect(wrongWith('"service":"' + "é".repeat(513) + '"')).toBe(
      "$.service: expected a text of 1 to 1024 bytes, found 1026",
    );
    expect(wrongWith('"service":{}')).toBe("$.service: expected a string, found an object");
  });

  it("take each limit up to its ends and no further", () => {
    limit("frameBytes", 64, u32.MAX_VALUE);
    limit("headBytes", 64, 1 << 20);
    limit("inFlight", 1, 1 << 20);
    limit("series", 1, 10_000);
    limit("waitMilliseconds", 10, 3_600_000);
    expect(wrongWith('"limits":[]')).toBe("$.limits: expected an object, found an array");
    expect(wrongWith('"limits":{"frameBytes":"64MiB"}')).toBe(
      "$.limits.frameBytes: expected a whole number, found a string",
    );
    expect(wrongWith('"limits":{"frameBytes":64.5}')).toBe(
      "$.limits.frameBytes: expected a whole number, found a number",
    );
    expect(wrongWith('"limits":{"series":null}')).toBe("$.limits.series: expected a whole number, found null");
  });

  it("say what is wrong with the log", () => {
    expect(wrongWith('"log":{"requests":0}')).toBe("");
    expect(wrongWith('"log":{"requests":2147483647}')).toBe("");
    expect(wrongWith('"log":{"requests":2147483648}')).toBe(
      "$.log.requests: expected 0 to 2147483647, found 2147483648",
    );
    expect(wrongWith('"log":{"requests":-1}')).toBe("$.log.requests: expected 0 to 2147483647, found -1");
    expect(wrongWith('"log":{"frames":1}')).toBe("$.log.frames: expected a boolean, found a number");
    expect(wrongWith('"log":true')).toBe("$.log: expected an object, found a boolean");
  });

  it("say what a bridge makes of requests, and only in a bridge", () => {
    const lift = read('{"protocol":"dubbo","mode":"lift","authority":"a.example","metadata":["user"]}');
    expect(lift.mode).toBe(Mode.Lift);
    expect(String.UTF8.decode(lift.authority!)).toBe("a.example");
    expect(String.UTF8.decode(lift.metadata![0])).toBe("user");
    expect(String.UTF8.decode(lift.contentType)).toBe("application/vnd.meltemi.dubbo");
    const lower = read('{"protocol":"dubbo","mode":"lower"}');
    expect(lower.mode).toBe(Mode.Lower);
    expect(lower.metadata).toBeNull();
    expect(wrongWith('"mode":"lower","authority":"a"')).toBe(
      '$.authority: expected nothing, because mode is not "lift"',
    );
    expect(wrongWith('"metadata":[]')).toBe('$.metadata: expected nothing, because mode is "observe"');
    expect(wrongWith('"mode":"lift","metadata":{}')).toBe("$.metadata: expected an array of strings, found an object");
    expect(wrongWith('"mode":"lift","metadata":[1]')).toBe("$.metadata[0]: expected a string, found a number");
    expect(wrongWith('"mode":"lift","routes":[]')).toBe('$.routes: expected nothing, because mode is "lift"');
  });

  it("say for which addresses they are", () => {
    const settings = read('{"protocol":"dubbo","destinations":["10.0.0.1:80","[::1]:80"]}');
    expect(settings.isFor(Slice.of("10.0.0.1:80"))).toBe(true);
    expect(settings.isFor(Slice.of("[::1]:80"))).toBe(true);
    expect(settings.isFor(Slice.of("10.0.0.1:8080"))).toBe(false);
    expect(settings.isFor(Slice.make())).toBe(true, "where nobody knows the address");
    expect(read('{"protocol":"dubbo"}').isFor(Slice.of("10.0.0.1:80"))).toBe(true);
    expect(wrongWith('"destinations":"a"')).toBe("$.destinations: expected an array of strings, found a string");
    expect(wrongWith('"destinations":[""]')).toBe("$.destinations[0]: expected a text of 1 to 1024 bytes, found 0");
  });

  it("have routes in mode route, and only there", () => {
    expect(wrongWith('"mode":"route"')).toBe('$.routes: expected an array, found nothing (mode is "route")');
    expect(wrongWith('"mode":"route","routes":[]')).toBe("$.routes: expected at least one route");
    expect(wrongWith('"mode":"route","routes":{}')).toBe("$.routes: expected an array, found an object");
    expect(wrongWith('"mode":"route","routes":["a"]')).toBe("$.routes[0]: expected an object, found a string");
    expect(wrongWith('"mode":"route","routes":[{}]')).toBe("$.routes[0].cluster: expected a string, found nothing");
    expect(wrongWith('"mode":"route","routes":[{"cluster":""}]')).toBe(
      "$.routes[0].cluster: expected a text of 1 to 1024 bytes, found 0",
    );
    expect(wrongWith('"mode":"route","routes":[{"cluster":7}]')).toBe(
      "$.routes[0].cluster: expected a string, found a number",
    );
    expect(wrongWith('"mode":"route","routes":[{"cluster":"a","name":""}]')).toBe(
      "$.routes[0].name: expected a text of 1 to 1024 bytes, found 0",
    );
    expect(wrongWith('"mode":"route","routes":[{"cluster":"a","match":[]}]')).toBe(
      "$.routes[0].match: expected an object, found an array",
    );
    expect(wrongWith('"routes":[{"cluster":"a"}]')).toBe('$.routes: expected nothing, because mode is "observe"');
    expect(wrongWith('"mode":"observe","routes":[]')).toBe('$.routes: expected nothing, because mode is "observe"');
  });

  it("have exactly one matcher for a key, of the right type", () => {
    expect(wrongMatcher('"login"')).toBe(METHOD + ": expected an object with one matcher, found a string");
    expect(wrongMatcher("{}")).toBe(METHOD + ": expected exactly one matcher, found 0");
    expect(wrongMatcher('{"exact":"a","prefix":"b"}')).toBe(METHOD + ": expected exactly one matcher, found 2");
    expect(wrongMatcher('{"exakt":"a"}')).toBe(
      METHOD + ".exakt: expected one of exact, prefix, suffix, regex, oneOf, range, present, not as the matcher's name",
    );
    const texts: string[] = ["exact", "prefix", "suffix", "regex"];
    for (let i = 0; i < texts.length; i++) {
      expect(wrongMatcher('{"' + texts[i] + '":7}')).toBe(`${METHOD}.${texts[i]}: expected a string, found a number`);
    }
    expect(wrongMatcher('{"present":"yes"}')).toBe(METHOD + ".present: expected a boolean, found a string");
    expect(wrongMatcher('{"not":"a"}')).toBe(METHOD + ".not: expected an object with one matcher, found a string");
    expect(wrongMatcher('{"not":{"not":{"exact":1}}}')).toBe(
      METHOD + ".not.not.exact: expected a string, found a number",
    );
    expect(wrongMatcher('{"oneOf":"a"}')).toBe(METHOD + ".oneOf: expected an array of strings, found a string");
    expect(wrongMatcher('{"oneOf":["a",7]}')).toBe(METHOD + ".oneOf[1]: expected a string, found a number");
    expect(wrongMatcher('{"oneOf":[]}')).toBe(METHOD + ".oneOf: expected at least one string");
    expect(wrongMatcher('{"range":[1,2]}')).toBe(METHOD + ".range: expected an object, found an array");
    expect(wrongMatcher('{"range":{}}')).toBe(METHOD + ".range: expected min, max or both");
    expect(wrongMatcher('{"range":{"min":"1"}}')).toBe(METHOD + ".range.min: expected a whole number, found a string");
    expect(wrongMatcher('{"range":{"max":1.5}}')).toBe(METHOD + ".range.max: expected a whole number, found a number");
    expect(wrongMatcher('{"range":{"from":1}}')).toBe(METHOD + ".range.from: expected one of min, max as a name");
    expect(wrongMatcher('{"range":{"min":2,"max":1}}')).toBe(METHOD + ".range: expected min to be at most max");
    expect(wrongMatcher('{"range":{"min":1,"max":1}}')).toBe("");
    expect(wrongMatcher('{"range":{"min":-9223372036854775808,"max":9223372036854775807}}')).toBe("");
    const regex = wrongMatcher('{"regex":"a("}');
    expect(regex.startsWith(METHOD + ".regex: expected a regular expression: ")).toBe(true, regex);
  });

  it("name the first mistake of several", () => {
    expect(wrong('{"protocol":"dubbo","mode":"x","direction":7}')).toBe(
      '$.mode: expected observe, route, lift or lower, found "x"',
    );
  });

  it("are refused without a trap wherever the text ends", () => {
    const whole = Guarded.text(
      '{"protocol":"dubbo","mode":"route","routes":[{"name":"n","match":{"a":{"not":{"oneOf":["x"]}},"b":{"range":' +
        '{"min":1}}},"cluster":"c"}],"limits":{"series":5},"log":{"frames":true}}',
    );
    for (let size: u32 = 0; size < whole.size; size++) {
      const part = Guarded.copy(whole.ptr, size);
      if (SettingsReader.read(part.ptr, part.size)) expect(size).toBe(whole.size);
      part.free();
    }
    expect(SettingsReader.read(whole.ptr, whole.size)).not.toBeNull();
  });
});

/** The names of the matchers that hold for a method, in the order of the test above. */
function which(settings: Settings, method: string | null): string {
  const names: string[] = ["exact", "prefix", "suffix", "regex", "oneOf", "min", "max", "present", "not"];
  const frame = Frame.make();
  if (method !== null) frame.method.point(Slice.of(method));
  let text = "";
  for (let i = 0; i < settings.rules.length; i++) if (settings.rules[i].matches(frame)) text += names[i] + " ";
  return text;
}

function limit(name: string, least: i64, most: i64): void {
  expect(wrongWith(`"limits":{"${name}":${least}}`)).toBe("");
  expect(wrongWith(`"limits":{"${name}":${most}}`)).toBe("");
  const path = `$.limits.${name}`;
  expect(wrongWith(`"limits":{"${name}":${least - 1}}`)).toBe(
    `${path}: expected ${least} to ${most}, found ${least - 1}`,
  );
  expect(wrongWith(`"limits":{"${name}":${most + 1}}`)).toBe(
    `${path}: expected ${least} to ${most}, found ${most + 1}`,
  );
}
