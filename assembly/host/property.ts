import { Slice } from "../wire/slice";
import { proxy_get_property } from "./imports";

const out: usize = memory.data(8, 4);

/** The address that the client connected to: `IP:PORT`, `[IP]:PORT`. */
export const DESTINATION = Slice.of("destination\0address");

/** What the host knows of the current connection. */
@final
export class Property {
  /** The value in `into`, valid until the callback ends; its ptr is 0 where there is none. Path parts end with a NUL. */
  static read(path: Slice, into: Slice): void {
    into.clear();
    store<u64>(out, 0);
    if (proxy_get_property(path.ptr, path.size, out, out + 4)) return;
    into.set(load<u32>(out), load<u32>(out, 4));
  }
}
