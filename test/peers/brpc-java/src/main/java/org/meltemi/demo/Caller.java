package org.meltemi.demo;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.client.BrpcProxy;
import com.baidu.brpc.client.RpcClient;
import com.baidu.brpc.client.RpcClientOptions;
import com.baidu.brpc.client.channel.ChannelType;
import com.baidu.brpc.client.channel.Endpoint;
import com.baidu.brpc.exceptions.RpcException;
import com.baidu.brpc.protocol.Options;
import com.google.protobuf.DescriptorProtos.EnumValueDescriptorProto;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * {@code Caller HOST PORT}: calls Greeter on one connection as standard input says, {@code ID NUMBER TEXT} for each call, and
 * prints a line for each that has ended: {@code ID ok REPLY} or {@code ID failed WHY}. The number is the call's log id; with a
 * negative one it is Fail that is called. Ends with its input.
 */
public final class Caller {
  private Caller() {}

  public static void main(String[] args) throws IOException {
    RpcClientOptions options = new RpcClientOptions();
    options.setProtocolType(Options.ProtocolType.PROTOCOL_BAIDU_STD_VALUE);
    options.setReadTimeoutMillis(10_000);
    options.setMaxTryTimes(1);
    options.setChannelType(ChannelType.SINGLE_CONNECTION);
    RpcClient client = new RpcClient(new Endpoint(args[0], Integer.parseInt(args[1])), options);
    Greeter greeter = BrpcProxy.getProxy(client, Greeter.class);
    ExecutorService threads = Executors.newCachedThreadPool();
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String[] call = line.split(" ", 3);
      threads.execute(() -> System.out.println(call[0] + " " + outcome(greeter, call[1], call[2]).replace('\n', ' ')));
    }
    System.exit(0);
  }

  private static String outcome(Greeter greeter, String number, String text) {
    RpcContext context = RpcContext.getContext();
    context.reset();
    context.setLogId(Long.parseLong(number));
    EnumValueDescriptorProto value = Text.of(text);
    try {
      boolean fails = number.startsWith("-");
      return "ok " + (fails ? greeter.fail(value) : greeter.echo(value)).getName();
    } catch (RpcException e) {
      return "failed RpcException " + e.getCode() + " " + e.getMessage();
    } catch (RuntimeException e) {
      return "failed " + e;
    }
  }
}
