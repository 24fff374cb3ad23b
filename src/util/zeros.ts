const ZEROS = Buffer.alloc(4096)

/** True if all bytes of [from, to) are zero. */
export function isZero(bytes: Uint8Array, from = 0, to = bytes.length): boolean {
  for (let at = from; at < to; at += ZEROS.length) {
    const end = Math.min(at + ZEROS.length, to)
    // In most cases the first byte decides without a call.
    if (bytes[at] !== 0 || ZEROS.compare(bytes, at, end, 0, end - at) !== 0) return false
  }
  return true
}
