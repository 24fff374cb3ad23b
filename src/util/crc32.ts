import { crc32 as ieee } from 'node:zlib'

/** CRC32 (IEEE, as in zip and GPT) of `bytes`; an unsigned 32-bit number. */
export const crc32 = (bytes: Uint8Array): number => ieee(bytes)
