package org.meltemi.demo;

import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/** {@code Provider PORT [VERSION]}: serves until it is killed; prints {@code READY PORT} once it can be called. */
public final class Provider {
  private Provider() {}

  public static void main(String[] args) throws InterruptedException {
    int port = Integer.parseInt(args[0]);
    String version = args.length > 1 ? args[1] : "java";

    ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
    protocol.setHost("127.0.0.1");
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
