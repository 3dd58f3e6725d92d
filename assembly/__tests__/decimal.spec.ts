import { Decimal } from "../wire/decimal";
import { Slice } from "../wire/slice";
import { Guarded } from "./util";

const slice = Slice.make();

/** What is read, as text; "none" where there is no number. */
function read(text: string): string {
  const input = Guarded.text(text);
  slice.set(input.ptr, input.size);
  // The bytes around are digits as well.
  input.guard(0x31);
  return Decimal.parse(slice) ? Decimal.value.toString() : "none";
}

describe("decimal numbers", () => {
  it("have up to 19 digits and a sign", () => {
    const same: string[] = ["0", "7", "-1", "123456789", "9223372036854775807", "-9223372036854775808"];
    for (let i = 0; i < same.length; i++) expect(read(same[i])).toBe(same[i]);
    expect(read("007")).toBe("7");
    expect(read("-0")).toBe("0");
  });

  it("are nothing else", () => {
    const none: string[] = ["", "-", "+1", " 1", "1 ", "1.0", "0x1", "--1", "1-", "٣"];
    for (let i = 0; i < none.length; i++) expect(read(none[i])).toBe("none", none[i]);
    expect(read("9223372036854775808")).toBe("none");
    expect(read("-9223372036854775809")).toBe("none");
    expect(read("99999999999999999999")).toBe("none");
  });

  it("are within limits, which are allowed", () => {
    const input = Guarded.text("-5");
    slice.set(input.ptr, input.size);
    expect(Decimal.within(slice, -5, 0)).toBe(true);
    expect(Decimal.within(slice, -9, -5)).toBe(true);
    expect(Decimal.within(slice, -4, 0)).toBe(false);
    expect(Decimal.within(slice, -9, -6)).toBe(false);
  });
});
