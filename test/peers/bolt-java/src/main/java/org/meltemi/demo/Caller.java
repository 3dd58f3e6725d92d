package org.meltemi.demo;

import com.alipay.remoting.InvokeContext;
import com.alipay.remoting.rpc.RpcClient;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * {@code Caller HOST PORT}: asks the provider on one connection as standard input says, {@code ID NUMBER TEXT} for each call, and
 * prints a line for each that has ended: {@code ID ok REPLY} or {@code ID failed WHY}. The number is the header's {@code tag}; with
 * a negative one it is refuse that is called. Ends with its input.
 */
public final class Caller {
  private Caller() {}

  public static void main(String[] args) throws IOException {
    Header.register();
    RpcClient client = new RpcClient();
    client.startup();
    // With checksums.
    String address = args[0] + ":" + args[1] + "?_PROTOCOL=2&_VERSION=2";
    ExecutorService threads = Executors.newCachedThreadPool();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] call = line.split(" ", 3);
      threads.execute(
          () -> System.out.println(call[0] + " " + outcome(client, address, call[1], call[2]).replace('\n', ' ')));
    }
    System.exit(0);
  }

  private static String outcome(RpcClient client, String address, String number, String text) {
    InvokeContext context = new InvokeContext();
    context.put(Header.TAG, number);
    Ask ask = new Ask(number.startsWith("-") ? "refuse" : "hello", text);
    try {
      Answer answer = (Answer) client.invokeSync(address, ask, context, 10_000);
      return answer.error ? "failed " + answer.text : "ok " + answer.text;
    } catch (Exception e) {
      Throwable cause = e.getCause();
      // Its own message has addresses and ids.
      return "failed " + e.getClass().getSimpleName() + (cause == null ? "" : " " + cause.getMessage());
    }
  }
}
