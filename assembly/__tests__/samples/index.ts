import { AwesomeRpcWire } from "./awesomerpc";
import { BrpcWire } from "./brpc";
import { DubboWire } from "./dubbo";
import { Wire } from "./sample";
import { ThriftUnframedWire, ThriftWire } from "./thrift";
import { TrpcWire } from "./trpc";

/** Every protocol that is held to conformance, one line each. */
export const wires: Wire[] = [
  new DubboWire(),
  new TrpcWire(),
  new BrpcWire(),
  new ThriftWire(),
  new ThriftUnframedWire(),
  new AwesomeRpcWire(),
];
