package org.meltemi.demo;

import com.google.gson.Gson;
import com.google.protobuf.StringValue;
import com.tencent.trpc.core.common.ConfigManager;
import com.tencent.trpc.core.common.config.BackendConfig;
import com.tencent.trpc.core.common.config.ConsumerConfig;
import com.tencent.trpc.core.exception.TRpcException;
import com.tencent.trpc.core.rpc.RpcClientContext;
import com.tencent.trpc.core.rpc.RpcContext;
import com.tencent.trpc.core.rpc.anno.TRpcMethod;
import com.tencent.trpc.core.rpc.anno.TRpcService;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;
import reactor.core.publisher.Flux;

/**
 * {@code Consumer HOST PORT STREAMS_PORT [ENV]}: calls a provider in every way there is, checks each outcome, and prints one line of
 * JSON: {@code [{"name":"text","ok":true,"got":"..."}]}. With ENV, that is trans_info's trpc-env of every call. Exits
 * with 0 however the calls went.
 */
public final class Consumer {
  private static final List<Map<String, Object>> results = new ArrayList<>();
  private static final Duration PATIENCE = Duration.ofSeconds(5);
  private static String env;

  private Consumer() {}

  /** A service that no provider has. */
  @TRpcService(name = "trpc.meltemi.demo.Missing")
  public interface Missing {
    @TRpcMethod(name = "Echo")
    StringValue echo(RpcContext context, StringValue text);
  }

  public static void main(String[] args) {
    String address = "ip://" + args[0] + ":" + args[1];
    env = args.length > 3 ? args[3] : null;
    ConfigManager.getInstance().start();
    Greeter greeter = proxy(Greeter.class, address);
    Streams streams = proxy(Streams.class, "ip://" + args[0] + ":" + args[2]);

    check("text", true, () -> greeter.echo(context(), text("fig")).getValue().startsWith("fig from "));
    String many = "Μελτέμι \uD83C\uDF75 ".repeat(10_000);
    check("long text", true, () -> greeter.echo(context(), text(many)).getValue().startsWith(many));
    check("many", 300, () -> (int) IntStream.range(0, 300)
        .filter(i -> greeter.echo(context(), text("fig " + i)).getValue().startsWith("fig " + i + " ")).count());
    check("trans_info", "blue", () -> {
      RpcClientContext context = context();
      context.getReqAttachMap().put("colour", "blue");
      return greeter.info(context, text("colour")).getValue();
    });
    check("exception", "42", () -> thrownBy(() -> greeter.fail(context(), text("fig")), TRpcException::getBizCode));
    check("crash", "999", () -> thrownBy(() -> greeter.crash(context(), text("fig")), TRpcException::getBizCode));
    check("no such service", true, () -> thrownBy(
        () -> proxy(Missing.class, address).echo(context(), text("fig")), TRpcException::getCode).matches("1[12]"));
    check("oneway", "1", () -> oneway(greeter));
    check("stream of replies", List.of("fig", "fig", "fig"), () -> texts(streams.repeat(context(), text("fig"))));
    check("stream of requests", "abc", () ->
        streams.join(context(), Flux.just("a", "b", "c").map(Consumer::text)).block(PATIENCE).getValue());
    check("stream of both", 100, () ->
        texts(streams.echo(context(), Flux.range(0, 100).map(i -> text("fig " + i)))).size());
    check("broken stream", "1000", () ->
        thrownBy(() -> texts(streams.breakOff(context(), text("fig"))), TRpcException::getCode));

    System.out.println(new Gson().toJson(results));
    System.exit(0);
  }

  private static void check(String name, Object expected, Callable<?> call) {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("name", name);
    try {
      Object got = call.call();
      result.put("ok", Objects.equals(expected, got));
      result.put("got", brief(String.valueOf(got)));
    } catch (Exception e) {
      result.put("ok", false);
      result.put("got", brief(e.toString()));
    }
    results.add(result);
  }

  private static String brief(String text) {
    return text.length() <= 500 ? text : text.substring(0, 500) + "...";
  }

  private static String thrownBy(Runnable call, ToIntFunction<TRpcException> code) {
    try {
      call.run();
      return "nothing";
    } catch (TRpcException e) {
      return String.valueOf(code.applyAsInt(e));
    }
  }

  /** How often the provider got a one-way call made here: there is no reply to wait for, so it is asked. */
  private static String oneway(Greeter greeter) throws InterruptedException {
    StringValue text = text("fig " + System.nanoTime());
    RpcClientContext context = context();
    context.setOneWay(true);
    greeter.notify(context, text);
    String notified = "0";
    for (int i = 0; i < 500 && notified.equals("0"); i++) {
      Thread.sleep(10);
      notified = greeter.notified(context(), text).getValue();
    }
    return notified;
  }

  private static List<String> texts(Flux<StringValue> stream) {
    return stream.map(StringValue::getValue).collectList().block(PATIENCE);
  }

  private static StringValue text(String value) {
    return StringValue.of(value);
  }

  private static RpcClientContext context() {
    RpcClientContext context = new RpcClientContext();
    context.setTimeoutMills(5000);
    if (env != null) context.getReqAttachMap().put("trpc-env", env);
    return context;
  }

  private static <T> T proxy(Class<T> type, String address) {
    ConsumerConfig<T> consumer = new ConsumerConfig<>();
    consumer.setServiceInterface(type);
    BackendConfig backend = new BackendConfig();
    backend.setNamingUrl(address);
    return backend.getProxy(consumer);
  }
}
