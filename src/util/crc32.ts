import { createRequire } from 'node:module'

const { crc32: nativeCrc32 } = createRequire(import.meta.url)('@node-rs/crc32') as typeof import('@node-rs/crc32')

/** CRC32 (IEEE, as in zip and GPT) of `bytes`; an unsigned 32-bit number. */
export const crc32 = (bytes: Uint8Array): number => nativeCrc32(bytes) >>> 0
