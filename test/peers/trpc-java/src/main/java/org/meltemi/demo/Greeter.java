package org.meltemi.demo;

import com.google.protobuf.StringValue;
import com.tencent.trpc.core.rpc.RpcContext;
import com.tencent.trpc.core.rpc.anno.TRpcMethod;
import com.tencent.trpc.core.rpc.anno.TRpcService;

@TRpcService(name = "trpc.meltemi.demo.Greeter")
public interface Greeter {
  /** The text and who answers: {@code fig from v1}. */
  @TRpcMethod(name = "Echo")
  StringValue echo(RpcContext context, StringValue text);

  /** The value that trans_info has for a key; empty where it has none. */
  @TRpcMethod(name = "Info")
  StringValue info(RpcContext context, StringValue key);

  /** Throws an exception of the service, whose code is 42. */
  @TRpcMethod(name = "Fail")
  StringValue fail(RpcContext context, StringValue text);

  /** Throws what no framework expects. */
  @TRpcMethod(name = "Crash")
  StringValue crash(RpcContext context, StringValue text);

  /** Notes the text; called one way. */
  @TRpcMethod(name = "Notify")
  StringValue notify(RpcContext context, StringValue text);

  /** How often a text was noted, in decimal. */
  @TRpcMethod(name = "Notified")
  StringValue notified(RpcContext context, StringValue text);
}
