/** The IEEE polynomial, bits reversed. */
const POLYNOMIAL = 0xedb88320

/** What a byte makes of the checksum. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0)
  return crc
})

/** CRC32 (IEEE, as in zip and GPT) of `bytes`; an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array): number {
  let crc = -1
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number)
  return ~crc >>> 0
}
