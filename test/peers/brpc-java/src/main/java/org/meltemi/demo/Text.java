package org.meltemi.demo;

import com.google.protobuf.DescriptorProtos.EnumValueDescriptorProto;

/** Messages with a text, of a kind that Protocol Buffers come with: none has to be compiled for them. */
final class Text {
  private Text() {}

  static EnumValueDescriptorProto of(String value) {
    return EnumValueDescriptorProto.newBuilder().setName(value).build();
  }
}
