package org.meltemi.demo;

import java.io.Serializable;

/** What a method says; with {@code error}, that it could not. */
public class Answer implements Serializable {
  private static final long serialVersionUID = 1;

  String text;
  boolean error;

  public Answer() {}

  public Answer(String text, boolean error) {
    this.text = text;
    this.error = error;
  }
}
