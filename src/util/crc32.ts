import { crc32 as nativeCrc32 } from '@node-rs/crc32'

/** CRC32 (IEEE, as in zip and GPT) of `bytes`; an unsigned 32-bit number. */
export const crc32 = (bytes: Uint8Array): number => nativeCrc32(bytes) >>> 0
