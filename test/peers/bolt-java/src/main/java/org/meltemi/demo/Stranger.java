package org.meltemi.demo;

import java.io.Serializable;

/** A call that no server takes. */
public class Stranger implements Serializable {
  private static final long serialVersionUID = 1;
}
