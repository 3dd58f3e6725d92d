package org.meltemi.demo;

import com.baidu.brpc.protocol.BrpcMeta;
import com.google.protobuf.DescriptorProtos.EnumValueDescriptorProto;

public interface Greeter {
  /** The text and who answers: {@code fig from v1}. The attachment comes back as it was. */
  @BrpcMeta(serviceName = "meltemi.demo.Greeter", methodName = "Echo")
  EnumValueDescriptorProto echo(EnumValueDescriptorProto text);

  /** The attachment for a key; empty where there is none. */
  @BrpcMeta(serviceName = "meltemi.demo.Greeter", methodName = "Info")
  EnumValueDescriptorProto info(EnumValueDescriptorProto key);

  /** Throws. */
  @BrpcMeta(serviceName = "meltemi.demo.Greeter", methodName = "Fail")
  EnumValueDescriptorProto fail(EnumValueDescriptorProto text);
}
