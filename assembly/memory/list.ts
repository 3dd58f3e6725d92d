/** A place in a list, part of a bigger record; all zero is in no list. */
@unmanaged
@final
export class Link {
  next: usize;
  previous: usize;
  /** The list that it stands in; 0 where in none. */
  list: usize;

  /** Takes it out of its list, if it stands in one. */
  leave(): void {
    if (!this.list) return;
    const list = changetype<List>(this.list);
    if (this.next) changetype<Link>(this.next).previous = this.previous;
    else list.last = this.previous;
    if (this.previous) changetype<Link>(this.previous).next = this.next;
    else list.first = this.next;
    this.list = 0;
  }
}

/** Links, first come first served. Owns nothing; all zero is empty. */
@unmanaged
@final
export class List {
  first: usize;
  last: usize;

  static make(): List {
    const list = changetype<List>(heap.alloc(offsetof<List>()));
    list.first = 0;
    list.last = 0;
    return list;
  }

  /** Adds a link that is in no list at the end. */
  append(link: Link): void {
    const at = changetype<usize>(link);
    link.next = 0;
    link.previous = this.last;
    link.list = changetype<usize>(this);
    if (this.last) changetype<Link>(this.last).next = at;
    else this.first = at;
    this.last = at;
  }
}
