import { Frame, Kind, Side } from "../codec/frame";
import { Log } from "../host/log";
import { JsonText } from "../wire/json";
import { Sink } from "../wire/sink";

/** A head of 1 MiB whose every byte is escaped with six, and whose names stand twice: as such and as metadata. */
const line = new Sink(1 << 24);

/** Log lines, one JSON object each; what they hold stands in docs/architecture.md. */
@final
export class Report {
  static start(what: string): void {
    line.clear();
    line.text('{"meltemi":"');
    line.text(what);
    line.u8(0x22);
  }

  static text(name: string, value: string): void {
    Report.name(name);
    line.u8(0x22);
    line.text(value);
    line.u8(0x22);
  }

  static string(name: string, ptr: usize, size: u32): void {
    Report.name(name);
    JsonText.string(line, ptr, size);
  }

  static number(name: string, value: u64): void {
    Report.name(name);
    line.unsigned(value);
  }

  /** A 64-bit id, as text because JavaScript's numbers are shorter. */
  static id(value: u64): void {
    Report.name("id");
    line.u8(0x22);
    line.unsigned(value);
    line.u8(0x22);
  }

  static send(): void {
    line.u8(0x7d);
    if (!line.full) Log.info(line);
  }

  static frame(connection: u32, protocol: string, frame: Frame, offset: u64): void {
    Report.start("frame");
    Report.number("connection", connection);
    Report.from(frame.side);
    Report.text("protocol", protocol);
    Report.text("kind", kindText(frame.kind));
    Report.id(frame.id);
    Report.string("service", frame.service.ptr, frame.service.size);
    Report.string("method", frame.method.ptr, frame.method.size);
    Report.string("status", frame.outcome.ptr, frame.outcome.size);
    Report.name("code");
    line.decimal(frame.code);
    Report.number("length", frame.length);
    Report.number("offset", offset);
    Report.name("metadata");
    line.u8(0x7b);
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      if (i) line.u8(0x2c);
      JsonText.string(line, frame.key(i).ptr, frame.key(i).size);
      line.u8(0x3a);
      JsonText.string(line, frame.value(i).ptr, frame.value(i).size);
    }
    line.u8(0x7d);
    if (frame.metadataDropped) {
      Report.name("metadata_dropped");
      line.text("true");
    }
    Report.send();
  }

  static from(side: Side): void {
    Report.text("from", side == Side.Client ? "client" : "server");
  }

  private static name(name: string): void {
    line.text(',"');
    line.text(name);
    line.text('":');
  }
}

function kindText(kind: Kind): string {
  switch (kind) {
    case Kind.Request:
      return "request";
    case Kind.Response:
      return "response";
    case Kind.OneWay:
      return "oneway";
    case Kind.Heartbeat:
      return "heartbeat";
    case Kind.HeartbeatReply:
      return "heartbeat_reply";
    case Kind.StreamOpen:
      return "stream_open";
    case Kind.StreamData:
      return "stream_data";
    default:
      return "stream_close";
  }
}
