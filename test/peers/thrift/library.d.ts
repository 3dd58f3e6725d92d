/** The part of Apache Thrift's library that the peers use; the package ships no types. */

declare module "thrift" {
  import type { EventEmitter } from "node:events";
  import type { Server, Socket } from "node:net";

  namespace thrift {
    interface Message {
      fname: string | Buffer;
      mtype: number;
      rseqid: number;
    }

    interface Protocol {
      writeMessageBegin(name: string, type: number, id: number): void;
      writeMessageEnd(): void;
      writeStructBegin(name: string): void;
      writeStructEnd(): void;
      writeFieldBegin(name: string, type: number, id: number): void;
      writeFieldEnd(): void;
      writeFieldStop(): void;
      writeString(value: string): void;
      writeI32(value: number): void;
      readMessageBegin(): Message;
      readMessageEnd(): void;
      readStructBegin(): void;
      readStructEnd(): void;
      readFieldBegin(): { ftype: number; fid: number };
      readFieldEnd(): void;
      readString(): string;
      readI32(): number;
      skip(type: number): void;
      flush(): void;
    }

    /** Every transport of the package can carry THeaders. */
    interface Transport {
      setProtocolId(id: number): void;
      setWriteHeader(key: string, value: string): void;
      flush(): void;
    }

    type ProtocolClass = new (transport: Transport) => Protocol;
    /** With bytes they are what is read. */
    type TransportClass = new (bytes?: Buffer) => Transport;

    interface Options {
      transport: TransportClass;
      protocol: ProtocolClass;
    }

    interface Connection extends EventEmitter {
      readonly connection: Socket;
    }

    interface Processor {
      process(input: Protocol, output: Protocol): void;
    }

    type ClientClass<T> = new (transport: Transport, protocol: ProtocolClass) => T;
  }

  const thrift: {
    setLogLevel(level: "none"): void;
    createConnection(host: string, port: number, options: thrift.Options): thrift.Connection;
    createClient<T>(client: thrift.ClientClass<T>, connection: thrift.Connection): T;
    Multiplexer: new () => {
      createClient<T>(service: string, client: thrift.ClientClass<T>, connection: thrift.Connection): T;
    };
    MultiplexedProcessor: new () => thrift.Processor & {
      registerProcessor(service: string, processor: thrift.Processor): void;
    };
    createMultiplexServer(processor: thrift.Processor, options: thrift.Options): Server;
    TBufferedTransport: thrift.TransportClass;
    TFramedTransport: thrift.TransportClass;
    TBinaryProtocol: new (transport: thrift.Transport, strictRead?: boolean, strictWrite?: boolean) => thrift.Protocol;
    TCompactProtocol: thrift.ProtocolClass;
    THeaderProtocol: thrift.ProtocolClass;
    Thrift: {
      Type: Record<"STOP" | "I32" | "STRING" | "STRUCT", number>;
      MessageType: Record<"CALL" | "REPLY" | "EXCEPTION" | "ONEWAY", number>;
      TApplicationExceptionType: Record<"UNKNOWN_METHOD" | "INTERNAL_ERROR", number>;
      TApplicationException: new (
        type?: number,
        message?: string,
      ) => Error & {
        type: number;
        read(input: thrift.Protocol): void;
        write(output: thrift.Protocol): void;
      };
    };
  };
  export = thrift;
}
