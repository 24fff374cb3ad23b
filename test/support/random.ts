/** Seeded random numbers (mulberry32): the same sequence for the same seed, everywhere. */
export interface Random {
  /** An integer in [0, below). */
  int(below: number): number
  pick<T>(items: readonly T[]): T
  bytes(length: number): Uint8Array
  chance(probability: number): boolean
}

export function random(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (below: number): number => Math.floor(next() * below)
  return {
    int,
    pick: (items) => items[int(items.length)] as (typeof items)[number],
    bytes: (length) => Uint8Array.from({ length }, () => int(256)),
    chance: (probability) => next() < probability,
  }
}
