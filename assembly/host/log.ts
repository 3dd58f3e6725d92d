import { Sink } from "../wire/sink";
import { proxy_log } from "./imports";

const enum Level {
  Info = 2,
  Error = 4,
  Critical = 5,
}

@final
export class Log {
  static info(line: Sink): void {
    proxy_log(Level.Info, line.ptr, line.size);
  }

  static error(text: string): void {
    Log.text(Level.Error, text);
  }

  static critical(text: string): void {
    Log.text(Level.Critical, text);
  }

  private static text(level: Level, text: string): void {
    const utf8 = String.UTF8.encode(text);
    proxy_log(level, changetype<usize>(utf8), utf8.byteLength);
  }
}
