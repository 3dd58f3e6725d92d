package org.meltemi.demo;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.dubbo.rpc.RpcContext;

final class GreeterImpl implements Greeter {
  private final String version;
  private final Map<String, Integer> notified = new ConcurrentHashMap<>();

  /** {@code version} is told in what sayHello answers, so that a caller sees who did. */
  GreeterImpl(String version) {
    this.version = version;
  }

  @Override
  public String sayHello(String name) {
    return "Hello " + name + " from " + version;
  }

  @Override
  public Object echo(Object value) {
    return value;
  }

  @Override
  public int add(int a, int b) {
    return a + b;
  }

  @Override
  public int slow(int milliseconds) {
    try {
      Thread.sleep(milliseconds);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    return milliseconds;
  }

  @Override
  public void fail() {
    throw new IllegalStateException("refused by " + version);
  }

  @Override
  public byte[] blob(int bytes) {
    return pattern(bytes);
  }

  @Override
  public String attachment(String key) {
    return RpcContext.getServerAttachment().getAttachment(key);
  }

  @Override
  public void notify(String text) {
    notified.merge(text, 1, Integer::sum);
  }

  @Override
  public int notified(String text) {
    return notified.getOrDefault(text, 0);
  }

  /** Recognisable at every offset, so that bytes that moved are seen; the Node peer makes the same. */
  static byte[] pattern(int bytes) {
    byte[] out = new byte[bytes];
    for (int i = 0; i < bytes; i++) out[i] = (byte) (i * 31 + (i >> 8));
    return out;
  }
}
