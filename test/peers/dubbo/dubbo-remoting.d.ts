/** The part of dubbo-remoting that the peers use; the package ships no types. */

declare module "dubbo-remoting/lib/protocol/invocation.js" {
  class Invocation {
    constructor(fields: { methodName: string; args: unknown[]; attachments: Record<string, unknown> });
  }
  export = Invocation;
}

declare module "dubbo-remoting/lib/protocol/request.js" {
  class Request {
    constructor(id: number);
    isTwoWay: boolean;
    /** Set to null, makes this request a heartbeat. */
    event: null;
    data: unknown;
    encode(): Buffer;
    static decode(frame: Buffer): {
      packetId: number | string;
      packetType: "request" | "heartbeat";
      data: {
        methodName: string;
        args: unknown[];
        methodArgSigs: string[];
        requestProps: Record<string, unknown>;
      };
    };
  }
  export = Request;
}

declare module "dubbo-remoting/lib/protocol/response.js" {
  class Response {
    constructor(id: number | string);
    status: number;
    errorMsg: string | null;
    /** Set to null, makes this response the answer to a heartbeat. */
    event: null;
    data: unknown;
    encode(): Buffer;
    static decode(frame: Buffer): {
      packetId: number | string;
      packetType: "response" | "heartbeat_ack";
      data: { appResponse: unknown; error: Error | null; responseProps?: Record<string, unknown> | null };
    };
  }
  export = Response;
}
