package org.meltemi.demo;

public enum Color {
  RED,
  GREEN
}
