package org.meltemi.demo;

import com.alipay.remoting.BizContext;
import com.alipay.remoting.rpc.RpcServer;
import com.alipay.remoting.rpc.protocol.SyncUserProcessor;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** {@code Provider PORT [VERSION]}: serves until it is killed; prints {@code READY PORT} once it can be called. */
public final class Provider {
  private Provider() {}

  public static void main(String[] args) throws InterruptedException {
    Header.register();
    int port = Integer.parseInt(args[0]);
    RpcServer server = new RpcServer("127.0.0.1", port, true);
    server.registerUserProcessor(new Greeter(server, args.length > 1 ? args[1] : "java"));
    server.startup();
    System.out.println("READY " + port);
    Thread.currentThread().join();
  }

  private static final class Greeter extends SyncUserProcessor<Ask> {
    private final RpcServer server;
    private final String version;
    private final Map<String, Integer> notes = new ConcurrentHashMap<>();

    /** {@code version} is told in what hello answers, so that a caller sees who did. */
    Greeter(RpcServer server, String version) {
      this.server = server;
      this.version = version;
    }

    @Override
    public Object handleRequest(BizContext context, Ask ask) throws Exception {
      switch (ask.method) {
        case "hello":
          return new Answer(ask.text + " from " + version, false);
        case "tag":
          return new Answer(String.valueOf(Header.received.get()), false);
        case "slow":
          Thread.sleep(Integer.parseInt(ask.text));
          return new Answer(ask.text, false);
        case "refuse":
          return new Answer("refused by " + version, true);
        case "note":
          notes.merge(ask.text, 1, Integer::sum);
          return null;
        case "noted":
          return new Answer(String.valueOf(notes.getOrDefault(ask.text, 0)), false);
        case "back":
          // What the client is asked in turn, over its own connection.
          return server.invokeSync(context.getConnection(), new Ask("hello", ask.text), 5000);
        default:
          throw new IllegalStateException("no " + ask.method + " in " + version);
      }
    }

    @Override
    public String interest() {
      return Ask.class.getName();
    }
  }
}
