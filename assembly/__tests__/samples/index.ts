import { AwesomeRpcWire } from "./awesomerpc";
import { DubboWire } from "./dubbo";
import { Wire } from "./sample";
import { ThriftUnframedWire, ThriftWire } from "./thrift";

/** Every protocol that is held to conformance, one line each. */
export const wires: Wire[] = [new DubboWire(), new ThriftWire(), new ThriftUnframedWire(), new AwesomeRpcWire()];
