import { crc32, crc32Patch } from "../wire/crc32";
import { Guarded, Random } from "./util";

describe("CRC-32", () => {
  it("is that of zlib", () => {
    const digits = Guarded.text("123456789");
    expect(crc32(digits.ptr, digits.size)).toBe(0xcbf43926);
    expect(crc32(digits.ptr, 0)).toBe(0);
    const zeros = new Guarded(32);
    memory.fill(zeros.ptr, 0, 32);
    expect(crc32(zeros.ptr, 32)).toBe(0x190a55ad);
  });

  it("comes out as wanted with four bytes more", () => {
    const random = new Random();
    const bytes = new Guarded(60);
    for (let round = 0; round < 1000; round++) {
      const n = random.below(57);
      for (let i: u32 = 0; i < n; i++) store<u8>(bytes.ptr + i, random.below(256) as u8);
      const wanted = random.below(u32.MAX_VALUE);
      store<u32>(bytes.ptr + n, crc32Patch(crc32(bytes.ptr, n), wanted));
      if (crc32(bytes.ptr, n + 4) != wanted) expect(crc32(bytes.ptr, n + 4)).toBe(wanted);
    }
  });
});
