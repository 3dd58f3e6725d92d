package org.meltemi.demo;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.Objects;

/** Objects within objects, a class met more than once, and one object referred to from two places. */
public class Order implements Serializable {
  private static final long serialVersionUID = 1;

  public static class Item implements Serializable {
    private static final long serialVersionUID = 1;
    private String name;
    private double price;
    private Color color;

    public Item() {}

    public Item(String name, double price, Color color) {
      this.name = name;
      this.price = price;
      this.color = color;
    }

    @Override
    public boolean equals(Object other) {
      return other instanceof Item item
          && Objects.equals(name, item.name)
          && price == item.price
          && color == item.color;
    }

    @Override
    public int hashCode() {
      return Objects.hash(name, price, color);
    }

    @Override
    public String toString() {
      return name + "/" + price + "/" + color;
    }
  }

  private long id;
  private Date created;
  private List<Item> items = new ArrayList<>();
  private Item favourite;
  private Order previous;

  public static Order sample() {
    Order previous = new Order();
    previous.id = 1;
    previous.created = new Date(60_000);
    previous.items.add(new Item("fig", 0.5, Color.GREEN));
    Order order = new Order();
    order.id = 1L << 40;
    order.created = new Date(1_700_000_000_123L);
    order.items.add(new Item("σύκο", 1e300, Color.RED));
    order.items.add(new Item("tea \uD83C\uDF75", -3, null));
    order.favourite = order.items.get(0);
    order.previous = previous;
    return order;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Order order
        && id == order.id
        && Objects.equals(created, order.created)
        && items.equals(order.items)
        && Objects.equals(favourite, order.favourite)
        && Objects.equals(previous, order.previous);
  }

  @Override
  public int hashCode() {
    return Objects.hash(id, created, items, favourite, previous);
  }

  @Override
  public String toString() {
    return id + "@" + (created == null ? null : created.getTime()) + items + favourite + "<" + previous;
  }
}
