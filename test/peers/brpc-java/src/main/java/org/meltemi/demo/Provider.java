package org.meltemi.demo;

import com.baidu.brpc.RpcContext;
import com.baidu.brpc.server.RpcServer;
import com.baidu.brpc.server.RpcServerOptions;
import com.google.protobuf.DescriptorProtos.EnumValueDescriptorProto;
import io.netty.buffer.ByteBuf;
import java.util.Map;

/** {@code Provider PORT [VERSION]}: serves until it is killed; prints {@code READY PORT} once it can be called. */
public final class Provider {
  private Provider() {}

  public static void main(String[] args) throws InterruptedException {
    int port = Integer.parseInt(args[0]);
    RpcServer server = new RpcServer("127.0.0.1", port, new RpcServerOptions());
    server.registerService(new GreeterImpl(args.length > 1 ? args[1] : "java"));
    server.start();
    System.out.println("READY " + port);
    Thread.currentThread().join();
  }

  private static final class GreeterImpl implements Greeter {
    private final String version;

    GreeterImpl(String version) {
      this.version = version;
    }

    @Override
    public EnumValueDescriptorProto echo(EnumValueDescriptorProto text) {
      ByteBuf attachment = RpcContext.getContext().getRequestBinaryAttachment();
      if (attachment != null) RpcContext.getContext().setResponseBinaryAttachment(attachment.retain());
      return Text.of(text.getName() + " from " + version);
    }

    @Override
    public EnumValueDescriptorProto info(EnumValueDescriptorProto key) {
      Map<String, Object> attachments = RpcContext.getContext().getRequestKvAttachment();
      Object value = attachments == null ? null : attachments.get(key.getName());
      return Text.of(value == null ? "" : value.toString());
    }

    @Override
    public EnumValueDescriptorProto fail(EnumValueDescriptorProto text) {
      throw new IllegalStateException("refused by " + version);
    }
  }
}
