package org.meltemi.demo;

import com.alipay.remoting.CustomSerializerManager;
import com.alipay.remoting.DefaultCustomSerializer;
import com.alipay.remoting.InvokeContext;
import com.alipay.remoting.rpc.RequestCommand;
import com.alipay.remoting.rpc.ResponseCommand;
import com.alipay.remoting.rpc.protocol.RpcRequestCommand;
import com.alipay.remoting.rpc.protocol.RpcResponseCommand;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** The headers of SOFARPC: a map of texts, which says what is called and whether it failed. */
final class Header extends DefaultCustomSerializer {
  static final String SERVICE = "org.meltemi.demo.Greeter:1.0";
  /** In the context of a call: what its header has as {@code tag}. */
  static final String TAG = "meltemi.tag";
  /** The same of the request that this thread handles: a header is read by the one that goes on to call the service. */
  static final ThreadLocal<String> received = new ThreadLocal<>();

  private Header() {}

  static void register() {
    CustomSerializerManager.registerCustomSerializer(Ask.class.getName(), new Header());
    CustomSerializerManager.registerCustomSerializer(Answer.class.getName(), new Header());
  }

  @Override
  public <T extends RequestCommand> boolean serializeHeader(T request, InvokeContext context) {
    Ask ask = (Ask) ((RpcRequestCommand) request).getRequestObject();
    Map<String, String> header = new LinkedHashMap<>();
    header.put("sofa_head_target_service", SERVICE);
    header.put("sofa_head_method_name", ask.method);
    String tag = context == null ? null : context.get(TAG);
    if (tag != null) header.put("tag", tag);
    request.setHeader(write(header));
    return true;
  }

  @Override
  public <T extends ResponseCommand> boolean serializeHeader(T response) {
    Answer answer = (Answer) ((RpcResponseCommand) response).getResponseObject();
    if (!answer.error) return false;
    response.setHeader(write(Map.of("sofa_head_response_error", "true")));
    return true;
  }

  @Override
  public <T extends RequestCommand> boolean deserializeHeader(T request) {
    received.set(read(request.getHeader()).get("tag"));
    return true;
  }

  private static byte[] write(Map<String, String> header) {
    ByteBuffer buffer = ByteBuffer.allocate(4096);
    header.forEach((key, value) -> {
      for (String text : new String[] {key, value}) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        buffer.putInt(bytes.length).put(bytes);
      }
    });
    byte[] bytes = new byte[buffer.position()];
    buffer.flip().get(bytes);
    return bytes;
  }

  private static Map<String, String> read(byte[] bytes) {
    Map<String, String> header = new LinkedHashMap<>();
    ByteBuffer buffer = ByteBuffer.wrap(bytes);
    while (buffer.hasRemaining()) header.put(text(buffer), text(buffer));
    return header;
  }

  private static String text(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.getInt()];
    buffer.get(bytes);
    return new String(bytes, StandardCharsets.UTF_8);
  }
}
