package org.meltemi.demo;

import com.google.protobuf.StringValue;
import com.tencent.trpc.core.common.ConfigManager;
import com.tencent.trpc.core.common.config.BackendConfig;
import com.tencent.trpc.core.common.config.ConsumerConfig;
import com.tencent.trpc.core.exception.TRpcException;
import com.tencent.trpc.core.rpc.RpcClientContext;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * {@code Caller HOST PORT}: calls Greeter as standard input says, {@code ID NUMBER TEXT} for each call, and prints a line for
 * each that has ended: {@code ID ok REPLY} or {@code ID failed WHY}. The number is trans_info's {@code number}; with a negative one
 * it is Fail that is called. Ends with its input.
 */
public final class Caller {
  private Caller() {}

  public static void main(String[] args) throws IOException {
    ConfigManager.getInstance().start();
    ConsumerConfig<Greeter> consumer = new ConsumerConfig<>();
    consumer.setServiceInterface(Greeter.class);
    BackendConfig backend = new BackendConfig();
    backend.setNamingUrl("ip://" + args[0] + ":" + args[1]);
    Greeter greeter = backend.getProxy(consumer);
    ExecutorService threads = Executors.newCachedThreadPool();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] call = line.split(" ", 3);
      threads.execute(() -> System.out.println(call[0] + " " + outcome(greeter, call[1], call[2]).replace('\n', ' ')));
    }
    System.exit(0);
  }

  private static String outcome(Greeter greeter, String number, String text) {
    RpcClientContext context = new RpcClientContext();
    context.setTimeoutMills(10_000);
    context.getReqAttachMap().put("number", number);
    StringValue value = StringValue.of(text);
    try {
      boolean fails = number.startsWith("-");
      return "ok " + (fails ? greeter.fail(context, value) : greeter.echo(context, value)).getValue();
    } catch (TRpcException e) {
      return "failed TRpcException " + e.getCode() + " " + e.getBizCode() + " " + e.getMessage();
    } catch (RuntimeException e) {
      return "failed " + e;
    }
  }
}
