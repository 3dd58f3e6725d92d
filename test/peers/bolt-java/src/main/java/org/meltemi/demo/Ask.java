package org.meltemi.demo;

import java.io.Serializable;

/** A call of a method. */
public class Ask implements Serializable {
  private static final long serialVersionUID = 1;

  String method;
  String text;

  public Ask() {}

  public Ask(String method, String text) {
    this.method = method;
    this.text = text;
  }
}
