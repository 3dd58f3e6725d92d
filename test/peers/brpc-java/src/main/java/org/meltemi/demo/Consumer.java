package org.meltemi.demo;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.client.BrpcProxy;
import com.baidu.brpc.client.RpcClient;
import com.baidu.brpc.client.RpcClientOptions;
import com.baidu.brpc.client.channel.ChannelType;
import com.baidu.brpc.client.channel.Endpoint;
import com.baidu.brpc.exceptions.RpcException;
import com.baidu.brpc.protocol.Options;
import com.google.gson.Gson;
import io.netty.buffer.ByteBuf;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;

/**
 * {@code Consumer HOST PORT [TAG]}: calls a provider in every way there is, checks each outcome, and prints one line of
 * JSON: {@code [{"name":"text","ok":true,"got":"..."}]}. With TAG, every call has it as the attachment {@code tag}. Exits
 * with 0 however the calls went.
 */
public final class Consumer {
  private static final List<Map<String, Object>> results = new ArrayList<>();
  private static String tag;

  private Consumer() {}

  public static void main(String[] args) {
    Endpoint endpoint = new Endpoint(args[0], Integer.parseInt(args[1]));
    tag = args.length > 2 ? args[2] : null;
    Greeter greeter = BrpcProxy.getProxy(new RpcClient(endpoint, options()), Greeter.class);
    RpcClientOptions compressing = options();
    compressing.setCompressType(Options.CompressType.COMPRESS_TYPE_GZIP);
    Greeter compressed = BrpcProxy.getProxy(new RpcClient(endpoint, compressing), Greeter.class);

    check("text", true, () -> echo(greeter, "fig").startsWith("fig from "));
    String many = "Μελτέμι \uD83C\uDF75 ".repeat(10_000);
    check("long text", true, () -> echo(greeter, many).startsWith(many));
    check("compressed", true, () -> echo(compressed, many).startsWith(many));
    check("many", 300, () -> (int) IntStream.range(0, 300)
        .filter(i -> echo(greeter, "fig " + i).startsWith("fig " + i + " ")).count());
    check("attachment", "leaf".repeat(5_000), () -> {
      context().setRequestBinaryAttachment("leaf".repeat(5_000).getBytes(StandardCharsets.UTF_8));
      greeter.echo(Text.of("fig"));
      ByteBuf attachment = RpcContext.getContext().getResponseBinaryAttachment();
      try {
        return attachment.toString(StandardCharsets.UTF_8);
      } finally {
        attachment.release();
      }
    });
    check("key and value", "blue", () -> {
      context().setRequestKvAttachment("colour", "blue");
      return greeter.info(Text.of("colour")).getName();
    });
    check("log id", true, () -> {
      context().setLogId(7L);
      return greeter.echo(Text.of("fig")).getName().startsWith("fig from ");
    });
    check("exception", true, () -> thrownBy(() -> greeter.fail(Text.of("fig"))).contains("refused by"));

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

  private static String echo(Greeter greeter, String text) {
    context();
    return greeter.echo(Text.of(text)).getName();
  }

  private static String thrownBy(Runnable call) {
    context();
    try {
      call.run();
      return "nothing";
    } catch (RpcException e) {
      return e.getMessage();
    }
  }

  /** For the next call. */
  private static RpcContext context() {
    RpcContext context = RpcContext.getContext();
    context.reset();
    if (tag != null) context.setRequestKvAttachment("tag", tag);
    return context;
  }

  private static RpcClientOptions options() {
    RpcClientOptions options = new RpcClientOptions();
    options.setProtocolType(Options.ProtocolType.PROTOCOL_BAIDU_STD_VALUE);
    options.setReadTimeoutMillis(5000);
    options.setMaxTryTimes(1);
    // A pool would open connections that nobody uses.
    options.setChannelType(ChannelType.SINGLE_CONNECTION);
    return options;
  }
}
