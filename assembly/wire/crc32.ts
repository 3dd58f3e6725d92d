/** 0x04C11DB7 with its bits in reverse. */
const POLYNOMIAL: u32 = 0xedb88320;
/** The remainders of all bytes. */
const TABLE: usize = memory.data(256 * 4);

for (let byte: u32 = 0; byte < 256; byte++) {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >> 1) ^ POLYNOMIAL : rest >> 1;
  store<u32>(TABLE + (byte << 2), rest);
}

/** The checksum of ISO 3309, as zlib, gzip and java.util.zip.CRC32 have it. */
export function crc32(p: usize, n: u32): u32 {
  let rest: u32 = u32.MAX_VALUE;
  const end = p + n;
  for (; p < end; p++) rest = (rest >> 8) ^ load<u32>(TABLE + (((rest ^ load<u8>(p)) & 255) << 2));
  return ~rest;
}

/**
 * Four bytes, as a load sees them, that behind bytes with the checksum `before` make it `after`: what 32 steps of the
 * division lead to is gone back.
 */
export function crc32Patch(before: u32, after: u32): u32 {
  let rest = ~after;
  for (let bit = 0; bit < 32; bit++) rest = rest >> 31 ? ((rest ^ POLYNOMIAL) << 1) | 1 : rest << 1;
  return rest ^ ~before;
}
