package org.meltemi.demo;

import com.google.protobuf.StringValue;
import com.tencent.trpc.core.rpc.RpcContext;
import com.tencent.trpc.core.rpc.anno.TRpcMethod;
import com.tencent.trpc.core.rpc.anno.TRpcService;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

@TRpcService(name = "trpc.meltemi.demo.Streams")
public interface Streams {
  /** The text once for each of its characters. */
  @TRpcMethod(name = "Repeat")
  Flux<StringValue> repeat(RpcContext context, StringValue text);

  /** All texts as one. */
  @TRpcMethod(name = "Join")
  Mono<StringValue> join(RpcContext context, Publisher<StringValue> texts);

  /** Each text as it comes. */
  @TRpcMethod(name = "Echo")
  Flux<StringValue> echo(RpcContext context, Publisher<StringValue> texts);

  /** The text, and then an error. */
  @TRpcMethod(name = "Break")
  Flux<StringValue> breakOff(RpcContext context, StringValue text);
}
