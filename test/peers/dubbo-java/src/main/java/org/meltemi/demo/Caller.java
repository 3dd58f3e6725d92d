package org.meltemi.demo;

import com.alibaba.fastjson2.JSON;
import com.alibaba.fastjson2.JSONObject;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcException;

/**
 * {@code Caller HOST PORT HEARTBEAT}: calls Greeter on one connection as standard input says, a line of JSON for each call:
 * {@code {"id":1,"method":"slow","argument":50,"timeout":1000}}, and prints a line for each that has ended:
 * {@code {"id":1,"ms":51,"value":50}}, or with {@code "exception"}, {@code "message"} and, where it is one of Dubbo's,
 * {@code "kind"}. HEARTBEAT is the time in milliseconds after which an idle connection sends one. Ends with its
 * input.
 */
public final class Caller {
  private Caller() {}

  public static void main(String[] args) throws IOException {
    String address = "dubbo://" + Provider.numeric(args[0]) + ":" + args[1];
    DubboBootstrap.getInstance().application(Provider.application("caller")).start();
    Map<Integer, Greeter> greeters = new LinkedHashMap<>();
    ExecutorService threads = Executors.newCachedThreadPool();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JSONObject call = JSON.parseObject(line);
      Greeter greeter =
          greeters.computeIfAbsent(call.getIntValue("timeout"), timeout -> reference(address, args[2], timeout));
      threads.execute(() -> print(outcome(greeter, call)));
    }
    System.exit(0);
  }

  private static Map<String, Object> outcome(Greeter greeter, JSONObject call) {
    Map<String, Object> outcome = new LinkedHashMap<>();
    outcome.put("id", call.get("id"));
    long start = System.nanoTime();
    try {
      outcome.put("value", switch (call.getString("method")) {
        case "sayHello" -> greeter.sayHello(call.getString("argument"));
        case "slow" -> greeter.slow(call.getIntValue("argument"));
        case "add" -> greeter.add(call.getIntValue("argument"), 1);
        case "echo" -> greeter.echo(call.getString("argument"));
        case "attachment" -> greeter.attachment(call.getString("argument"));
        case "notified" -> greeter.notified(call.getString("argument"));
        default -> throw new IllegalArgumentException(call.toString());
      });
    } catch (RuntimeException e) {
      outcome.put("exception", e.getClass().getName());
      outcome.put("message", e.getMessage());
      if (e instanceof RpcException rpc) {
        outcome.put("kind", rpc.isTimeout() ? "timeout" : rpc.isNetwork() ? "network" : rpc.isBiz() ? "biz" : rpc.getCode());
      }
    }
    outcome.put("ms", (System.nanoTime() - start) / 1_000_000);
    return outcome;
  }

  private static synchronized void print(Map<String, Object> outcome) {
    System.out.println(JSON.toJSONString(outcome));
  }

  private static Greeter reference(String address, String heartbeat, int timeout) {
    ReferenceConfig<Greeter> config = new ReferenceConfig<>();
    config.setInterface(Greeter.class);
    config.setUrl(address + "?serialization=hessian2&heartbeat=" + heartbeat);
    config.setTimeout(timeout);
    config.setRetries(0);
    return config.get();
  }
}
