import { Changes } from "../codec/changes";
import { Bad, READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { VideoPacket } from "../codec/videopacket";
import { Sink } from "../wire/sink";
import { render } from "./samples/sample";
import { basic, struct, text, videopacket } from "./samples/videopacket";
import { Guarded, hexOf } from "./util";

const codec = new VideoPacket();
const frame = Frame.make();
const changes = new Changes();
const sink = new Sink();
const ACCESS = struct(1, "");

function read(hex: string, side: Side): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  const look = codec.head(input.ptr, input.size, frame);
  if (look) return look.toString();
  expect(codec.metadata(input.ptr, input.size, frame)).toBe(READY);
  return render(frame);
}

/** The request or reply with another id and with changes: keys and values in turn, where `-` takes the key out. */
function encode(hex: string, side: Side, id: u64, pairs: string[]): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  expect(codec.head(input.ptr, input.size, frame)).toBe(READY);
  expect(codec.metadata(input.ptr, input.size, frame)).toBe(READY);
  changes.clear();
  for (let i = 0; i < pairs.length; i += 2) {
    const key = Guarded.text(pairs[i]);
    const value = Guarded.text(pairs[i + 1]);
    changes.set(key.ptr, key.size, pairs[i + 1] == "-" ? 0 : value.ptr, value.size);
  }
  sink.clear();
  return codec.encode(input.ptr, input.size, frame, id, changes, sink) ? hexOf(sink.ptr, sink.size) : "";
}

describe("videopacket", () => {
  it("takes the same bytes for a request or a reply by who sent them", () => {
    const hex = videopacket(1, basic("1001", "4005", "6007", "") + ACCESS);
    expect(read(hex, Side.Client).startsWith("request 7 ")).toBe(true);
    expect(read(hex, Side.Server).startsWith("response 7 ")).toBe(true);
    expect(read(hex, Side.Server).includes(" err_forbidden/4/5 ")).toBe(true);
  });

  it("refuses what is no BasicInfo", () => {
    const wrong: string[] = [
      "1a0b", // another struct
      "0c" + "0b", // no struct
      "0a" + "6007" + "4c" + "0b", // in another order
      "0a" + "6007" + "6008" + "0b", // twice
      "0a" + "0601" + "41" + "0b", // a text where an integer is
      "0a" + "0e" + "0b", // no type
      "0a" + "6007", // no end
    ];
    for (let i = 0; i < wrong.length; i++) {
      expect(read(videopacket(1, wrong[i]), Side.Client)).toBe((-Bad.Encoding).toString(), wrong[i]);
    }
    // Fields that came later are fine.
    expect(
      read(videopacket(1, "0a" + "6007" + "9603616263" + "f0c801" + "0b"), Side.Client).startsWith("request 7 "),
    ).toBe(true);
  });

  it("refuses another version, and frames that are too short", () => {
    const frame = videopacket(1, struct(0, ""));
    expect(read(frame.substring(0, 10) + "02" + frame.substring(12), Side.Client)).toBe((-Bad.Field).toString());
    expect(read("2600000012" + frame.substring(10), Side.Client)).toBe((-Bad.Length).toString());
    expect(read("2600000013" + frame.substring(10), Side.Client).startsWith("request 0 ")).toBe(true);
  });

  it("changes an id in place where the other one is as long", () => {
    const input = Guarded.hex(videopacket(1, basic("1001", "4c", "6007", "") + ACCESS));
    expect(codec.setId(input.ptr, 127)).toBe(true);
    expect(hexOf(input.ptr, input.size)).toBe(videopacket(1, basic("1001", "4c", "607f", "") + ACCESS));
    const same = hexOf(input.ptr, input.size);
    expect(codec.setId(input.ptr, 0)).toBe(false);
    expect(codec.setId(input.ptr, 128)).toBe(false);
    expect(codec.setId(input.ptr, u64.MAX_VALUE - 128)).toBe(false);
    expect(hexOf(input.ptr, input.size)).toBe(same);
    expect(codec.setId(input.ptr, u64.MAX_VALUE)).toBe(true);
    expect(hexOf(input.ptr, input.size)).toBe(videopacket(1, basic("1001", "4c", "60ff", "") + ACCESS));
  });

  it("writes an id of any length, and one where there was none", () => {
    const rest = ACCESS + text(3, "body");
    const hex = videopacket(1, basic("1001", "4c", "6007", "8c") + rest);
    const no: string[] = [];
    expect(encode(hex, Side.Client, 0, no)).toBe(videopacket(1, basic("1001", "4c", "6c", "8c") + rest));
    expect(encode(hex, Side.Client, 300, no)).toBe(videopacket(1, basic("1001", "4c", "61012c", "8c") + rest));
    expect(encode(hex, Side.Server, 70000, no)).toBe(videopacket(1, basic("1001", "4c", "6200011170", "8c") + rest));
    const bare = videopacket(1, struct(0, "2002" + "7005") + rest);
    expect(encode(bare, Side.Client, 7, no)).toBe(videopacket(1, struct(0, "2002" + "6007" + "7005") + rest));
    expect(encode(bare, Side.Client, 0, no)).toBe(bare);
    // A longer form than needed becomes the short one.
    const long = videopacket(1, basic("1001", "4c", "6300000000000000ff", "") + rest);
    expect(encode(long, Side.Client, 255, no)).toBe(videopacket(1, basic("1001", "4c", "6100ff", "") + rest));
  });

  it("writes numbers within their limits", () => {
    const hex = videopacket(1, basic("1001", "4c", "6007", "") + ACCESS);
    expect(encode(hex, Side.Client, 7, ["command", "59393"])).toBe(
      videopacket(59393, basic("11e801", "4c", "6007", "") + ACCESS),
    );
    const limits: string[][] = [
      ["command", "-1", "65536"],
      ["sub_cmd", "-2147483649", "2147483648"],
      ["service_type", "-1", "256"],
      ["caller_id", "-1", "4294967296"],
      ["uin", "-9223372036854775809", "9223372036854775808"],
    ];
    for (let i = 0; i < limits.length; i++) {
      expect(encode(hex, Side.Client, 7, [limits[i][0], limits[i][1]])).toBe("", limits[i][0]);
      expect(encode(hex, Side.Client, 7, [limits[i][0], limits[i][2]])).toBe("", limits[i][0]);
      expect(encode(hex, Side.Client, 7, [limits[i][0], "x"])).toBe("", limits[i][0]);
      expect(encode(hex, Side.Client, 7, [limits[i][0], "-"])).toBe("", limits[i][0]);
      expect(encode(hex, Side.Client, 7, [limits[i][0], "5"]).length > 0).toBe(true, limits[i][0]);
    }
    const most = ["command", "65535", "service_type", "255", "caller_id", "4294967295", "uin", "-1", "sub_cmd", "-7"];
    expect(
      read(encode(hex, Side.Client, 7, most), Side.Client).includes(
        "{command=65535, sub_cmd=-7, service_type=255, caller_id=4294967295, uin=-1}",
      ),
    ).toBe(true);
  });

  it("writes names behind the body, of requests only", () => {
    const start = basic("1001", "4c", "6007", "") + ACCESS + text(3, "body");
    const route = struct(7, text(0, "web") + "1001" + text(2, "a") + text(4, "/f") + text(5, "main"));
    const behind = "9800" + "0c";
    const hex = videopacket(1, start + route + behind);
    const changed = struct(7, "1001" + text(2, "b") + text(4, "/g") + text(5, "main"));
    expect(encode(hex, Side.Client, 7, ["to_server", "b", "func", "/g", "from_server", "-"])).toBe(
      videopacket(1, start + changed + behind),
    );
    // Where there is none, it stands where it belongs.
    const bare = videopacket(1, start + behind);
    expect(encode(bare, Side.Client, 7, ["func", "/g"])).toBe(
      videopacket(1, start + struct(7, text(4, "/g")) + behind),
    );
    expect(encode(videopacket(1, start), Side.Client, 7, ["to_server", "b"])).toBe(
      videopacket(1, start + struct(7, text(2, "b"))),
    );
    expect(encode(hex, Side.Server, 7, ["func", "/g"])).toBe("");
    expect(encode(hex, Side.Client, 7, ["tag", "gray"])).toBe("");
    // What cannot be read is not rewritten, but its id is.
    const odd = videopacket(1, start + text(7, "route"));
    expect(encode(odd, Side.Client, 7, ["func", "/g"])).toBe("");
    expect(encode(odd, Side.Client, 7, [])).toBe(odd);
  });

  it("answers with the BasicInfo of the request and a result", () => {
    const results: i32[] = [8, 8, 3, 4, 5, 11, 10, 1];
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      read(videopacket(0xe801, basic("11e801", "4c", "6200011170", "") + ACCESS + text(3, "body")), Side.Client);
      sink.clear();
      codec.error(frame, reason, 0, 0, sink);
      const result = "40" + (results[reason] < 16 ? "0" : "") + results[reason].toString(16);
      const info = struct(0, "010840" + "11e801" + "2002" + "3003" + result + "5200011170" + "6200011170");
      expect(hexOf(sink.ptr, sink.size)).toBe(videopacket(0xe801, info + ACCESS));
    }
  });
});
