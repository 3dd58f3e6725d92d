import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 13;

const STATUSES = new Statuses(Status.Exception).add(0, Status.Ok, "ok");
const CMD = Slice.of("cmd");

/**
 * awesomerpc, the tutorial protocol of MetaProtocol Proxy (layout: its public encoder). All integers are big-endian:
 *
 * | off | size | field                                   |
 * |-----|------|-----------------------------------------|
 * | 0   | 1    | version                                 |
 * | 1   | 4    | flow: the request id                    |
 * | 5   | 4    | length of the whole frame, header too   |
 * | 9   | 2    | cmd                                     |
 * | 11  | 2    | code of a response; 0 is success        |
 *
 * There is no magic and no type: what a client sends are requests, what a server sends are responses.
 */
@final
export class AwesomeRpc extends Codec {
  constructor() {
    super("awesomerpc", HEADER, STATUSES);
  }

  keys(): string {
    return '[{"name":"cmd","about":"command number, signed decimal"}]';
  }

  head(p: usize, n: u32, frame: Frame): Look {
    const length = bswap<u32>(load<u32>(p, 5));
    if (length < HEADER) return -Bad.Length;
    frame.length = length;
    frame.id = bswap<u32>(load<u32>(p, 1));
    frame.token = load<u8>(p) | ((load<u16>(p, 9) as u64) << 8);
    frame.decimal(frame.method, bswap<i16>(load<i16>(p, 9)));
    if (frame.side == Side.Client) {
      frame.kind = Kind.Request;
      return READY;
    }
    frame.kind = Kind.Response;
    const code = bswap<i16>(load<i16>(p, 11)) as i32;
    STATUSES.set(frame, code);
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    frame.add(CMD, frame.method);
    return READY;
  }

  setId(p: usize, id: u64): bool {
    store<u32>(p, bswap<u32>(id as u32), 1);
    return true;
  }

  /** The header of the request with a code: 50 no route, 51 everything else. */
  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const at = sink.reserve(HEADER);
    if (!at) return;
    store<u8>(at, frame.token as u8);
    this.setId(at, frame.id);
    store<u32>(at, bswap<u32>(HEADER), 5);
    store<u16>(at, (frame.token >> 8) as u16, 9);
    store<u16>(at, bswap<u16>(reason == Reason.NoRoute ? 50 : 51), 11);
  }
}
