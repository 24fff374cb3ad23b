/** 32 bits that depend on all bits of both numbers. */
export function mix(a: number, b: number, seed: number): number {
  let h = Math.imul(a ^ seed, 0xcc9e2d51)
  h = Math.imul(h ^ (h >>> 15) ^ b, 0x1b873593)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
