package org.meltemi.demo;

/** The service that the Node peer has too, method for method. */
public interface Greeter {
  String sayHello(String name);

  Object echo(Object value);

  int add(int a, int b);

  /** Answers {@code milliseconds} after as many milliseconds. */
  int slow(int milliseconds);

  /** Throws, as a service does that says no. */
  void fail();

  byte[] blob(int bytes);

  /** The attachment of that name that came with this call, or null. */
  String attachment(String key);

  /** Has no reply: called one-way. */
  void notify(String text);

  /** How often {@code notify} was called with that text. */
  int notified(String text);
}
