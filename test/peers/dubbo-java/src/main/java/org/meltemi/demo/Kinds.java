package org.meltemi.demo;

import java.util.Date;
import java.util.List;
import java.util.Map;

/** One argument of every kind that Hessian2 writes in its own way. */
public interface Kinds {
  String describe(
      boolean flag,
      byte small,
      char letter,
      short half,
      int number,
      long big,
      float single,
      double real,
      String text,
      Date date,
      List<Object> list,
      Map<String, Object> map,
      Order order,
      Color color,
      byte[] bytes,
      String[] names,
      int[][] grid,
      Object nothing);

  Order order(Order order);

  Color color(Color color);

  /** The other method of that name: they differ in their parameters only. */
  Color color(String name);
}
