import { compareBytes } from '#native'

/** Up to this length a call of native code takes longer than the comparison. */
const SHORT = 64

/** True if both have the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  if (a.length > SHORT) return compareBytes(a, b) === 0
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}
