package org.meltemi.demo;

import com.google.protobuf.StringValue;
import com.tencent.trpc.core.common.ConfigManager;
import com.tencent.trpc.core.common.config.ProviderConfig;
import com.tencent.trpc.core.common.config.ServiceConfig;
import com.tencent.trpc.core.exception.TRpcException;
import com.tencent.trpc.core.rpc.RpcContext;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * {@code Provider PORT STREAMS_PORT [VERSION]}: serves calls at one port and streams at the other, because this library
 * does not do both at one. Until it is killed; prints {@code READY PORT} once it can be called.
 */
public final class Provider {
  private Provider() {}

  public static void main(String[] args) throws InterruptedException {
    int port = Integer.parseInt(args[0]);
    ConfigManager.getInstance().start();
    serve(port, new GreeterImpl(args.length > 2 ? args[2] : "java"));
    serve(Integer.parseInt(args[1]), new StreamsImpl());
    System.out.println("READY " + port);
    Thread.currentThread().join();
  }

  private static <T> void serve(int port, T implementation) {
    ProviderConfig<T> provider = new ProviderConfig<>();
    provider.setRef(implementation);
    ServiceConfig service = new ServiceConfig();
    service.setIp("127.0.0.1");
    service.setNetwork("tcp");
    service.setPort(port);
    service.addProviderConfig(provider);
    service.export();
  }

  private static final class GreeterImpl implements Greeter {
    private final String version;
    private final Map<String, Integer> noted = new ConcurrentHashMap<>();

    GreeterImpl(String version) {
      this.version = version;
    }

    @Override
    public StringValue echo(RpcContext context, StringValue text) {
      return StringValue.of(text.getValue() + " from " + version);
    }

    @Override
    public StringValue info(RpcContext context, StringValue key) {
      Object value = context.getReqAttachMap().get(key.getValue());
      return StringValue.of(value == null ? "" : new String((byte[]) value, StandardCharsets.UTF_8));
    }

    @Override
    public StringValue fail(RpcContext context, StringValue text) {
      throw TRpcException.newBizException(42, "refused by " + version);
    }

    @Override
    public StringValue crash(RpcContext context, StringValue text) {
      throw new IllegalStateException("crashed");
    }

    @Override
    public StringValue notify(RpcContext context, StringValue text) {
      noted.merge(text.getValue(), 1, Integer::sum);
      return text;
    }

    @Override
    public StringValue notified(RpcContext context, StringValue text) {
      return StringValue.of(String.valueOf(noted.getOrDefault(text.getValue(), 0)));
    }
  }

  private static final class StreamsImpl implements Streams {
    @Override
    public Flux<StringValue> repeat(RpcContext context, StringValue text) {
      return Flux.fromIterable(Collections.nCopies(text.getValue().length(), text));
    }

    @Override
    public Mono<StringValue> join(RpcContext context, Publisher<StringValue> texts) {
      return Flux.from(texts).map(StringValue::getValue).reduce("", String::concat).map(StringValue::of);
    }

    @Override
    public Flux<StringValue> echo(RpcContext context, Publisher<StringValue> texts) {
      return Flux.from(texts);
    }

    @Override
    public Flux<StringValue> breakOff(RpcContext context, StringValue text) {
      return Flux.concat(Flux.just(text), Flux.error(new IllegalStateException("broken off")));
    }
  }
}
