import { SHAREABLE } from '../extents.ts'
import type { Blocks } from './blocks.ts'

/** The rows of mappings with a shared block. */
export function* sharingRows({ counts, mappings, rows }: Blocks): Generator<number> {
  let c = 0
  for (const row of rows) {
    const start = mappings.start.get(row)
    while (c < counts.end.length && (counts.end[c] as number) <= start) c++
    if (c === counts.end.length) return
    const shared = (counts.start[c] as number) < start + mappings.count.get(row)
    if (shared && (mappings.flags.get(row) & SHAREABLE) !== 0) yield row
  }
}
