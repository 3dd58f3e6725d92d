package org.meltemi.demo;

import com.alibaba.fastjson2.JSON;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.service.GenericService;

/**
 * {@code Consumer HOST PORT [TAG]}: calls a provider in every way there is, checks each outcome, and prints one line of
 * JSON: {@code [{"name":"text","ok":true,"got":"..."}]}. With TAG, that is the tag of the first call. Exits with 0
 * however the calls went.
 */
public final class Consumer {
  private static final List<Map<String, Object>> results = new ArrayList<>();

  private Consumer() {}

  public static void main(String[] args) throws UnknownHostException {
    String address = "dubbo://" + Provider.numeric(args[0]) + ":" + args[1];
    DubboBootstrap.getInstance().application(Provider.application("consumer")).start();
    Greeter greeter = reference(Greeter.class, address, "", "");
    Kinds kinds = reference(Kinds.class, address, "", "");

    if (args.length > 2) RpcContext.getClientAttachment().setAttachment("dubbo.tag", args[2]);
    check("text", "fig", () -> greeter.echo("fig"));
    check("empty text", "", () -> greeter.echo(""));
    String long1 = "Μελτέμι \uD83C\uDF75 ".repeat(10_000);
    check("long text", long1, () -> greeter.echo(long1));
    check("int", 7, () -> greeter.echo(7));
    check("negative int", Integer.MIN_VALUE, () -> greeter.echo(Integer.MIN_VALUE));
    check("primitive ints", 5, () -> greeter.add(2, 3));
    check("long", 1L << 52, () -> greeter.echo(1L << 52));
    check("double", Math.PI, () -> greeter.echo(Math.PI));
    check("boolean", true, () -> greeter.echo(true));
    check("null", null, () -> greeter.echo(null));
    check("date", new Date(1_700_000_000_123L), () -> greeter.echo(new Date(1_700_000_000_123L)));
    List<Object> list = new ArrayList<>(Arrays.asList("a", 1, 2.5, true, null, new ArrayList<>(List.of("b"))));
    check("list", list, () -> greeter.echo(list));
    Map<String, Object> map = new HashMap<>();
    map.put("a", 1);
    map.put("list", list);
    map.put("map", new HashMap<>(Map.of("k", "v")));
    check("map", map, () -> greeter.echo(map));
    check("bytes", true, () -> Arrays.equals(GreeterImpl.pattern(100_000), (byte[]) greeter.echo(GreeterImpl.pattern(100_000))));
    check("large reply", true, () -> Arrays.equals(GreeterImpl.pattern(1 << 20), greeter.blob(1 << 20)));
    check("object", Order.sample(), () -> kinds.order(Order.sample()));
    check("no object", null, () -> kinds.order(null));
    check("enum", Color.GREEN, () -> kinds.color(Color.GREEN));
    check("overload", Color.RED, () -> kinds.color("RED"));
    check("every kind", describe(new KindsImpl(), list, map), () -> describe(kinds, list, map));
    check("slow", 50, () -> greeter.slow(50));
    check("exception", "refused", () -> thrownBy(greeter));
    check("attachment", "fig", () -> {
      // The tag is for whoever routes the call: a Java provider keeps it from the service.
      RpcContext.getClientAttachment().setAttachment("dubbo.tag", "gray").setAttachment("trace", "fig");
      return greeter.attachment("trace");
    });
    check("async", IntStream.range(0, 10).boxed().toList(), () -> async(greeter));
    check("oneway", 1, () -> oneway(greeter, address));
    check("group and version", true, () ->
        reference(Greeter.class, address, "gray", "2.0.0").sayHello("fig").contains("gray 2.0.0"));
    check("generic", 5, () -> generic(address).$invoke("add", new String[] {"int", "int"}, new Object[] {2, 3}));

    System.out.println(JSON.toJSONString(results));
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

  private static String describe(Kinds kinds, List<Object> list, Map<String, Object> map) {
    return kinds.describe(
        true,
        (byte) -1,
        'σ',
        (short) 300,
        70_000,
        Long.MIN_VALUE,
        0.1f,
        -1e-9,
        "\uD83C\uDF75",
        new Date(60_000),
        list,
        map,
        Order.sample(),
        Color.RED,
        new byte[] {0, -1, 127},
        new String[] {"a", null},
        new int[][] {{1}, {}, {2, 3}},
        null);
  }

  private static String thrownBy(Greeter greeter) {
    try {
      greeter.fail();
      return "nothing";
    } catch (IllegalStateException e) {
      return e.getMessage().replaceFirst(" by .*", "");
    }
  }

  private static List<Object> async(Greeter greeter) throws Exception {
    List<CompletableFuture<Object>> calls = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      int n = i;
      calls.add(RpcContext.getServiceContext().asyncCall(() -> greeter.echo(n)));
    }
    List<Object> replies = new ArrayList<>();
    for (CompletableFuture<Object> call : calls) replies.add(call.get(5, TimeUnit.SECONDS));
    return replies;
  }

  /** How often the provider got a one-way call made here: there is no reply to wait for, so it is asked. */
  private static int oneway(Greeter greeter, String address) throws InterruptedException {
    String text = "fig " + System.nanoTime();
    MethodConfig method = new MethodConfig();
    method.setName("notify");
    method.setReturn(false);
    method.setSent(true);
    ReferenceConfig<Greeter> config = config(Greeter.class, address, "", "");
    config.setMethods(List.of(method));
    config.get().notify(text);
    int notified = 0;
    for (int i = 0; i < 500 && notified == 0; i++) {
      Thread.sleep(10);
      notified = greeter.notified(text);
    }
    return notified;
  }

  /** Greeter for those who do not have its interface. */
  private static GenericService generic(String address) {
    ReferenceConfig<GenericService> config = config(GenericService.class, address, "", "");
    config.setInterface(Greeter.class.getName());
    config.setGeneric("true");
    return config.get();
  }

  private static <T> T reference(Class<T> type, String address, String group, String version) {
    return config(type, address, group, version).get();
  }

  private static <T> ReferenceConfig<T> config(Class<T> type, String address, String group, String version) {
    ReferenceConfig<T> config = new ReferenceConfig<>();
    config.setInterface(type);
    config.setUrl(address + "?serialization=hessian2");
    config.setGroup(group);
    config.setVersion(version);
    config.setTimeout(10_000);
    config.setRetries(0);
    return config;
  }
}
