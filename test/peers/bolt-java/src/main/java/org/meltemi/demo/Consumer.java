package org.meltemi.demo;

import com.alipay.remoting.BizContext;
import com.alipay.remoting.InvokeContext;
import com.alipay.remoting.rpc.RpcClient;
import com.alipay.remoting.rpc.RpcResponseFuture;
import com.alipay.remoting.rpc.protocol.SyncUserProcessor;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;

/**
 * {@code Consumer HOST PORT [TAG]}: calls a provider in every way there is, checks each outcome, and prints one line of
 * JSON: {@code [{"name":"1 text","ok":true,"got":"..."}]}, where 1, 2 and 2.2 are what is spoken: protocol 1, protocol 2,
 * and that with checksums. With TAG, every call has it in its header. Exits with 0 however the calls went.
 */
public final class Consumer {
  private static final List<String> results = new ArrayList<>();
  private static RpcClient client;
  private static String tag;

  private Consumer() {}

  public static void main(String[] args) {
    // Before the library looks: heartbeats on a connection that is silent for so many milliseconds.
    System.setProperty("bolt.tcp.heartbeat.interval", "200");
    Header.register();
    tag = args.length > 2 ? args[2] : null;
    String address = args[0] + ":" + args[1];
    String[][] dialects = {
      {"1", address},
      {"2", address + "?_PROTOCOL=2&_VERSION=1"},
      // Which has checksums, because calls have a context.
      {"2.2", address + "?_PROTOCOL=2&_VERSION=2"},
    };
    for (String[] dialect : dialects) {
      // Each its own, because connections to the same address are shared, whatever they speak.
      client = new RpcClient();
      client.registerUserProcessor(new Back());
      client.startup();
      all(dialect[0] + " ", dialect[1]);
      client.shutdown();
    }

    System.out.println("[" + String.join(",", results) + "]");
    System.exit(0);
  }

  private static void all(String name, String address) {
    check(name + "text", true, () -> ask(address, "hello", "fig").startsWith("fig from "));
    String many = "Μελτέμι \uD83C\uDF75 ".repeat(10_000);
    check(name + "long text", true, () -> ask(address, "hello", many).startsWith(many));
    check(name + "many", 300, () -> {
      List<RpcResponseFuture> calls = new ArrayList<>();
      for (int i = 0; i < 300; i++) {
        calls.add(client.invokeWithFuture(address, new Ask("hello", "fig " + i), context(), 10_000));
      }
      int right = 0;
      for (int i = 0; i < 300; i++) {
        if (((Answer) calls.get(i).get(10_000)).text.startsWith("fig " + i + " ")) right++;
      }
      return right;
    });
    check(name + "tag", String.valueOf(tag), () -> ask(address, "tag", ""));
    check(name + "exception", "InvokeServerException", () -> thrownBy(address, new Ask("fly", "")));
    check(name + "refused", true, () -> ask(address, "refuse", "").startsWith("refused by "));
    check(name + "no processor", "InvokeServerException", () -> thrownBy(address, new Stranger()));
    check(name + "heartbeats meanwhile", "1000", () -> ask(address, "slow", "1000"));
    check(name + "one-way", "1", () -> {
      String text = "fig " + System.nanoTime();
      client.oneway(address, new Ask("note", text), context());
      String noted = "0";
      for (int i = 0; i < 500 && noted.equals("0"); i++) {
        Thread.sleep(10);
        noted = ask(address, "noted", text);
      }
      return noted;
    });
    check(name + "asked back", "fig from the client", () -> ask(address, "back", "fig"));
  }

  private static String ask(String address, String method, String text) throws Exception {
    return ((Answer) client.invokeSync(address, new Ask(method, text), context(), 10_000)).text;
  }

  private static String thrownBy(String address, Object request) {
    try {
      client.invokeSync(address, request, context(), 10_000);
      return "nothing";
    } catch (Exception e) {
      return e.getClass().getSimpleName();
    }
  }

  private static InvokeContext context() {
    InvokeContext context = new InvokeContext();
    if (tag != null) context.put(Header.TAG, tag);
    return context;
  }

  private static void check(String name, Object expected, Callable<?> call) {
    boolean ok = false;
    String got;
    try {
      Object value = call.call();
      ok = Objects.equals(expected, value);
      got = String.valueOf(value);
    } catch (Exception e) {
      got = e + (e.getCause() == null ? "" : ": " + e.getCause().getMessage());
    }
    results.add("{\"name\":" + json(name) + ",\"ok\":" + ok + ",\"got\":" + json(got) + "}");
  }

  private static String json(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    text.chars().limit(500).forEach(c -> {
      if (c == '"' || c == '\\' || c < ' ' || c > '~') quoted.append(String.format("\\u%04x", c));
      else quoted.append((char) c);
    });
    return quoted.append('"').toString();
  }

  /** What the client answers when it is asked. */
  private static final class Back extends SyncUserProcessor<Ask> {
    @Override
    public Object handleRequest(BizContext context, Ask ask) {
      return new Answer(ask.text + " from the client", false);
    }

    @Override
    public String interest() {
      return Ask.class.getName();
    }
  }
}
