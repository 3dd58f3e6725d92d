package org.meltemi.demo;

import java.math.BigInteger;
import java.net.InetAddress;
import java.net.UnknownHostException;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/** {@code Provider PORT [VERSION]}: serves until it is killed; prints {@code READY PORT} once it can be called. */
public final class Provider {
  private Provider() {}

  public static void main(String[] args) throws InterruptedException, UnknownHostException {
    int port = Integer.parseInt(args[0]);
    String version = args.length > 1 ? args[1] : "java";

    ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
    protocol.setHost(numeric("127.0.0.1"));
    protocol.setSerialization("hessian2");
    DubboBootstrap.getInstance()
        .application(application("provider"))
        .registry(new RegistryConfig(RegistryConfig.NO_AVAILABLE))
        .protocol(protocol)
        .service(service(Greeter.class, new GreeterImpl(version), "", ""))
        .service(service(Greeter.class, new GreeterImpl(version + " gray 2.0.0"), "gray", "2.0.0"))
        .service(service(Kinds.class, new KindsImpl(), "", ""))
        .start();
    System.out.println("READY " + port);
    Thread.currentThread().join();
  }

  /**
   * The IPv4 address as one number. Dubbo replaces what starts with 127 by an address of the machine that others can
   * reach, where neither a proxy on the loopback listens nor a provider has to.
   */
  static String numeric(String host) throws UnknownHostException {
    return new BigInteger(1, InetAddress.getByName(host).getAddress()).toString();
  }

  static ApplicationConfig application(String name) {
    ApplicationConfig application = new ApplicationConfig("meltemi-" + name);
    application.setQosEnable(false);
    application.setEnableFileCache(false);
    return application;
  }

  private static <T> ServiceConfig<T> service(Class<T> type, T implementation, String group, String version) {
    ServiceConfig<T> service = new ServiceConfig<>();
    service.setInterface(type);
    service.setRef(implementation);
    service.setGroup(group);
    service.setVersion(version);
    return service;
  }
}
