import { Sink } from "../wire/sink";
import { AwesomeRpc } from "./awesomerpc";
import { Brpc } from "./brpc";
import { Codec } from "./codec";
import { Dubbo } from "./dubbo";
import { PingPong } from "./pingpong";
import { Qza } from "./qza";
import { SofaBolt } from "./sofabolt";
import { Thrift } from "./thrift";
import { Trpc } from "./trpc";
import { VideoPacket } from "./videopacket";

/** Every protocol that the module speaks, one line each; those with a magic first, so that guessing tries them first. */
export const codecs: Codec[] = [
  new Dubbo(),
  new Trpc(),
  new Brpc(),
  new Thrift(),
  new PingPong(),
  new VideoPacket(),
  new SofaBolt(),
  new AwesomeRpc(),
  new Qza(),
];

/** Position in `codecs`, -1 where there is no such protocol. */
export function codecIndex(name: string): i32 {
  for (let i = 0; i < codecs.length; i++) {
    if (codecs[i].name == name) return i;
  }
  return -1;
}

/** The label of a position in `codecs`; `unknown` of the one behind the last, where no protocol could be guessed. */
export function protocolName(index: u32): string {
  return index < (codecs.length as u32) ? codecs[index].name : "unknown";
}

/** `dubbo, awesomerpc`, for messages. */
export function codecNames(): string {
  const names: string[] = [];
  for (let i = 0; i < codecs.length; i++) names.push(codecs[i].name);
  return names.join(", ");
}

/** What `meltemi_describe` answers. */
export function describe(): string {
  const protocols: string[] = [];
  for (let i = 0; i < codecs.length; i++) {
    const codec = codecs[i];
    const heartbeats = codec.heartbeat(0, new Sink());
    protocols.push(
      `{"name":"${codec.name}","magic":"${codec.magic}","heartbeats":${heartbeats},"keys":${codec.keys()}}`,
    );
  }
  return `{"protocols":[${protocols.join(",")}]}`;
}
