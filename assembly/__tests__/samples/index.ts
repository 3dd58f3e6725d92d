import { AwesomeRpcWire } from "./awesomerpc";
import { BrpcWire } from "./brpc";
import { DubboWire } from "./dubbo";
import { PingPongWire } from "./pingpong";
import { QzaWire } from "./qza";
import { Wire } from "./sample";
import { SofaBoltWire } from "./sofabolt";
import { ThriftUnframedWire, ThriftWire } from "./thrift";
import { TrpcWire } from "./trpc";
import { VideoPacketWire } from "./videopacket";

/** Every protocol that is held to conformance, one line each. */
export const wires: Wire[] = [
  new DubboWire(),
  new TrpcWire(),
  new BrpcWire(),
  new ThriftWire(),
  new ThriftUnframedWire(),
  new PingPongWire(),
  new VideoPacketWire(),
  new SofaBoltWire(),
  new AwesomeRpcWire(),
  new QzaWire(),
];
