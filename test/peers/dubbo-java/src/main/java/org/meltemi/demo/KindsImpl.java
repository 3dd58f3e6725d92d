package org.meltemi.demo;

import java.util.Arrays;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

final class KindsImpl implements Kinds {
  @Override
  public String describe(
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
      Object nothing) {
    return String.join(
        " ",
        String.valueOf(flag),
        String.valueOf(small),
        String.valueOf(letter),
        String.valueOf(half),
        String.valueOf(number),
        String.valueOf(big),
        String.valueOf(single),
        String.valueOf(real),
        text,
        String.valueOf(date.getTime()),
        String.valueOf(list),
        String.valueOf(new TreeMap<>(map)),
        String.valueOf(order),
        String.valueOf(color),
        Arrays.toString(bytes),
        Arrays.toString(names),
        Arrays.deepToString(grid),
        String.valueOf(nothing));
  }

  @Override
  public Order order(Order order) {
    return order;
  }

  @Override
  public Color color(Color color) {
    return color;
  }

  @Override
  public Color color(String name) {
    return Color.valueOf(name);
  }
}
