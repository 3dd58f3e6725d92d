import { Codec } from "../codec/codec";
import { codecIndex, codecNames, codecs } from "../codec/registry";
import { Json, JsonKind, JsonValue } from "../wire/json";
import { Regex } from "../wire/regex";
import { Slice } from "../wire/slice";
import { Condition, Exact, Matcher, Not, OneOf, Pattern, Prefix, Present, Range, Rule, Suffix } from "./match";

/** Bytes of a name that becomes a label or filter state; Envoy's names of clusters are shorter. */
const NAME_MAX: i32 = 1024;

export const enum Mode {
  Observe = 0,
  Route = 1,
  Lift = 2,
  Lower = 3,
}

/** In the place of a protocol's name: each connection's is guessed. */
const AUTO = "auto";
const DIRECTIONS: StaticArray<string> = ["outbound", "inbound"];
const MODES: StaticArray<string> = ["observe", "route", "lift", "lower"];

/** What one plugin configuration says. The words are those of docs/architecture.md. */
@final
export class Settings {
  codec: Codec = codecs[0];
  /** Position of the codec in the registry; the one behind the last where it is guessed for each connection. */
  protocol: u32 = 0;
  inbound: bool = false;
  /** Label of requests whose protocol names no service. */
  service: ArrayBuffer = String.UTF8.encode("unknown");
  mode: Mode = Mode.Observe;
  /** Addresses that clients connect to, as the host writes them; connections to others pass unread. Null for all. */
  destinations: StaticArray<ArrayBuffer> | null = null;
  /** Lift: what `:authority` says; null for the address that the client connected to. */
  authority: ArrayBuffer | null = null;
  /** Lift and lower: the metadata keys that become headers; null for all. */
  metadata: StaticArray<ArrayBuffer> | null = null;
  /** Of a message that carries frames of the protocol, and that no one else writes. */
  contentType: ArrayBuffer = new ArrayBuffer(0);
  rules: Rule[] = [];
  frameLimit: u64 = 64 << 20;
  headLimit: u32 = 64 << 10;
  inFlightLimit: u32 = 1 << 16;
  seriesLimit: u32 = 1000;
  waitMilliseconds: u32 = 10_000;
  /** One log line for one in so many requests; 0 for none. */
  logRequests: u32 = 0;
  logFrames: bool = false;

  /** The root context that has this configuration. */
  root: u32 = 0;
  /** Milliseconds between the ticks of the root; 0 where they are off. */
  tickPeriod: u32 = 0;
  /** The root is gone or configured anew; its last connections are ending. */
  retired: bool = false;
  private connections: u32 = 0;

  /** Lift and lower: whether any metadata become headers. */
  get makesHeaders(): bool {
    const keys = this.metadata;
    return !keys || keys.length > 0;
  }

  /** Whether connections to this address are meant; also where nobody knows the address. */
  isFor(destination: Slice): bool {
    const all = this.destinations;
    if (!all || !destination.ptr) return true;
    for (let i = 0; i < all.length; i++) {
      if (destination.is(changetype<usize>(all[i]), all[i].byteLength)) return true;
    }
    return false;
  }

  /** Whether a condition of some rule needs metadata. */
  routesByMetadata: bool = false;

  /** A connection refers to this by address, which the garbage collector does not see. */
  retain(): void {
    if (!this.connections++) __pin(changetype<usize>(this));
  }

  release(): void {
    if (!--this.connections) __unpin(changetype<usize>(this));
  }

  /** No tick of the root comes for this configuration any more. */
  retire(): void {
    this.retired = true;
    this.tickPeriod = 0;
  }

  /** Protocol and direction as one number, see Labels.start(); where the protocol is guessed, a connection has its own. */
  get labels(): u32 {
    return (this.protocol << 1) | (this.inbound as u32);
  }

  /** Whether the protocol is guessed for each connection. */
  get guesses(): bool {
    return this.protocol == codecs.length;
  }
}

/** Reads Settings out of JSON. After a failure `error` says where and what was expected; the first failure counts. */
@final
export class SettingsReader {
  static error: string = "";

  /** Null after a failure. */
  static read(ptr: usize, size: u32): Settings | null {
    SettingsReader.error = "";
    const json = Json.parse(ptr, size);
    if (!json) {
      SettingsReader.error = size ? `$: expected JSON: ${Json.error}` : "$: expected an object, found nothing";
      return null;
    }
    const settings = new Settings();
    SettingsReader.settings(json, settings);
    return SettingsReader.error.length ? null : settings;
  }

  private static settings(json: JsonValue, settings: Settings): void {
    const names = ["protocol", "mode", "direction", "service", "destinations", "authority", "metadata", "routes"];
    if (!known(json, names.concat(["limits", "log"]))) return;
    const protocol = json.at("protocol");
    if (!protocol) return fail(`${json.path()}.protocol: expected one of ${codecNames()}, auto, found nothing`);
    if (!is(protocol, JsonKind.String, "a string")) return;
    settings.mode = choice(json.at("mode"), MODES) as Mode;
    if (protocol.text == AUTO) {
      if (settings.mode != Mode.Observe) {
        return fail(`${protocol.path()}: expected one of ${codecNames()}, because mode is "${MODES[settings.mode]}"`);
      }
      settings.protocol = codecs.length;
    } else {
      const index = codecIndex(protocol.text);
      if (index < 0) return fail(`${protocol.path()}: expected one of ${codecNames()}, auto, found "${protocol.text}"`);
      settings.protocol = index as u32;
      settings.codec = codecs[index];
    }
    settings.contentType = String.UTF8.encode(`application/vnd.meltemi.${protocol.text}`);
    settings.inbound = choice(json.at("direction"), DIRECTIONS) == 1;

    const service = json.at("service");
    if (service) {
      if (!filled(service)) return;
      settings.service = String.UTF8.encode(service.text);
    }
    const destinations = json.at("destinations");
    if (destinations) settings.destinations = SettingsReader.names(destinations);
    const authority = json.at("authority");
    if (authority) {
      if (settings.mode != Mode.Lift) return fail(`${authority.path()}: expected nothing, because mode is not "lift"`);
      if (!filled(authority)) return;
      settings.authority = String.UTF8.encode(authority.text);
    }
    const metadata = json.at("metadata");
    if (metadata) {
      if (settings.mode < Mode.Lift) {
        return fail(`${metadata.path()}: expected nothing, because mode is "${MODES[settings.mode]}"`);
      }
      settings.metadata = SettingsReader.names(metadata);
    }
    const routes = json.at("routes");
    if (settings.mode == Mode.Route) {
      if (!routes) return fail(`${json.path()}.routes: expected an array, found nothing (mode is "route")`);
      SettingsReader.rules(routes, settings);
    } else if (routes) {
      return fail(`${routes.path()}: expected nothing, because mode is "${MODES[settings.mode]}"`);
    }
    SettingsReader.limits(json.at("limits"), settings);
    SettingsReader.log(json.at("log"), settings);
  }

  private static names(json: JsonValue): StaticArray<ArrayBuffer> | null {
    if (!is(json, JsonKind.Array, "an array of strings")) return null;
    const names = new StaticArray<ArrayBuffer>(json.items.length);
    for (let i = 0; i < json.items.length; i++) {
      if (!filled(json.items[i])) return null;
      names[i] = String.UTF8.encode(json.items[i].text);
    }
    return names;
  }

  private static limits(json: JsonValue | null, settings: Settings): void {
    if (!json || !known(json, ["frameBytes", "headBytes", "inFlight", "series", "waitMilliseconds"])) return;
    settings.frameLimit = whole(json.at("frameBytes"), 64, u32.MAX_VALUE, settings.frameLimit) as u64;
    // Held bytes must fit into the connection's buffer, which is 1 MiB where nobody says otherwise.
    const headLimit = whole(json.at("headBytes"), 64, 1 << 20, settings.headLimit) as u32;
    // No head of the protocol is shorter.
    settings.headLimit = max<u32>(headLimit, settings.codec.min);
    settings.inFlightLimit = whole(json.at("inFlight"), 1, 1 << 20, settings.inFlightLimit) as u32;
    settings.seriesLimit = whole(json.at("series"), 1, 10_000, settings.seriesLimit) as u32;
    settings.waitMilliseconds = whole(json.at("waitMilliseconds"), 10, 3_600_000, settings.waitMilliseconds) as u32;
  }

  private static log(json: JsonValue | null, settings: Settings): void {
    if (!json || !known(json, ["requests", "frames"])) return;
    settings.logRequests = whole(json.at("requests"), 0, i32.MAX_VALUE, 0) as u32;
    const frames = json.at("frames");
    if (frames && is(frames, JsonKind.Bool, "a boolean")) settings.logFrames = frames.bool;
  }

  private static rules(json: JsonValue, settings: Settings): void {
    if (!is(json, JsonKind.Array, "an array")) return;
    if (!json.items.length) return fail(`${json.path()}: expected at least one route`);
    for (let i = 0; i < json.items.length; i++) {
      const item = json.items[i];
      if (!known(item, ["name", "match", "cluster"])) return;
      const cluster = item.at("cluster");
      if (!cluster) return fail(`${item.path()}.cluster: expected a string, found nothing`);
      if (!filled(cluster)) return;
      const name = item.at("name");
      if (name && !filled(name)) return;
      const rule = new Rule(String.UTF8.encode(name ? name.text : i.toString()), String.UTF8.encode(cluster.text));
      const match = item.at("match");
      if (match && !SettingsReader.conditions(match, rule)) return;
      settings.rules.push(rule);
      if (rule.needsMetadata) settings.routesByMetadata = true;
    }
  }

  private static conditions(json: JsonValue, rule: Rule): bool {
    if (!is(json, JsonKind.Object, "an object")) return false;
    for (let i = 0; i < json.items.length; i++) {
      const matcher = SettingsReader.matcher(json.items[i]);
      if (!matcher) return false;
      rule.conditions.push(new Condition(json.items[i].key, matcher));
    }
    return true;
  }

  private static matcher(json: JsonValue): Matcher | null {
    if (!is(json, JsonKind.Object, "an object with one matcher")) return null;
    if (json.items.length != 1) {
      fail(`${json.path()}: expected exactly one matcher, found ${json.items.length}`);
      return null;
    }
    const value = json.items[0];
    const name = value.key;
    if (name == "present") return is(value, JsonKind.Bool, "a boolean") ? new Present(value.bool) : null;
    if (name == "not") {
      const inner = SettingsReader.matcher(value);
      return inner ? new Not(inner) : null;
    }
    if (name == "oneOf") return SettingsReader.oneOf(value);
    if (name == "range") return SettingsReader.range(value);
    if (name != "exact" && name != "prefix" && name != "suffix" && name != "regex") {
      fail(
        `${value.path()}: expected one of exact, prefix, suffix, regex, oneOf, range, present, not as the matcher's name`,
      );
      return null;
    }
    if (!is(value, JsonKind.String, "a string")) return null;
    const text = String.UTF8.encode(value.text);
    if (name == "exact") return new Exact(text);
    if (name == "prefix") return new Prefix(text);
    if (name == "suffix") return new Suffix(text);
    const regex = Regex.compile(value.text);
    if (regex) return new Pattern(regex);
    fail(`${value.path()}: expected a regular expression: ${Regex.error}`);
    return null;
  }

  private static oneOf(json: JsonValue): Matcher | null {
    if (!is(json, JsonKind.Array, "an array of strings")) return null;
    if (!json.items.length) {
      fail(`${json.path()}: expected at least one string`);
      return null;
    }
    const matchers: Exact[] = [];
    for (let i = 0; i < json.items.length; i++) {
      if (!is(json.items[i], JsonKind.String, "a string")) return null;
      matchers.push(new Exact(String.UTF8.encode(json.items[i].text)));
    }
    return new OneOf(matchers);
  }

  private static range(json: JsonValue): Matcher | null {
    if (!known(json, ["min", "max"])) return null;
    if (!json.items.length) {
      fail(`${json.path()}: expected min, max or both`);
      return null;
    }
    const least = whole(json.at("min"), i64.MIN_VALUE, i64.MAX_VALUE, i64.MIN_VALUE);
    const most = whole(json.at("max"), i64.MIN_VALUE, i64.MAX_VALUE, i64.MAX_VALUE);
    if (least > most) fail(`${json.path()}: expected min to be at most max`);
    return new Range(least, most);
  }
}

function fail(message: string): void {
  if (!SettingsReader.error.length) SettingsReader.error = message;
}

function is(json: JsonValue, kind: JsonKind, what: string): bool {
  if (json.kind == kind) return true;
  fail(json.expected(what));
  return false;
}

function filled(json: JsonValue): bool {
  if (!is(json, JsonKind.String, "a string")) return false;
  const size = String.UTF8.byteLength(json.text);
  if (size && size <= NAME_MAX) return true;
  fail(`${json.path()}: expected a text of 1 to ${NAME_MAX} bytes, found ${size}`);
  return false;
}

/** Whether `json` is an object with no other names than these. */
function known(json: JsonValue, names: string[]): bool {
  if (!is(json, JsonKind.Object, "an object")) return false;
  for (let i = 0; i < json.items.length; i++) {
    if (names.includes(json.items[i].key)) continue;
    fail(`${json.items[i].path()}: expected one of ${names.join(", ")} as a name`);
    return false;
  }
  return true;
}

/** Which of the words it is; the first one where there is none. */
function choice(json: JsonValue | null, words: StaticArray<string>): i32 {
  if (!json || !is(json, JsonKind.String, "a string")) return 0;
  const at = words.indexOf(json.text);
  if (at < 0) fail(`${json.path()}: expected ${alternatives(words)}, found "${json.text}"`);
  return max(at, 0);
}

/** `a, b or c` */
function alternatives(words: StaticArray<string>): string {
  const last = words.length - 1;
  return words.slice<Array<string>>(0, last).join(", ") + " or " + words[last];
}

function whole(json: JsonValue | null, least: i64, most: i64, otherwise: i64): i64 {
  if (!json) return otherwise;
  if (json.kind != JsonKind.Number || !json.whole) {
    fail(json.expected("a whole number"));
    return otherwise;
  }
  if (json.integer >= least && json.integer <= most) return json.integer;
  fail(`${json.path()}: expected ${least} to ${most}, found ${json.integer}`);
  return otherwise;
}
