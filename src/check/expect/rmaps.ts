import { compareRmaps, Extents, RMAP_FLAGS } from '../extents.ts'
import type { Blocks } from './blocks.ts'

/**
 * The records that rmapbt should have, in its order: metadata and file mappings, both merged as far
 * as possible.
 */
export function expectedRmaps({ metadata, mappings, rows }: Blocks): Extents {
  const out = new Extents()
  const total = metadata.length + rows.length
  for (const column of [out.start, out.count, out.owner, out.offset, out.flags]) {
    column.extend(total)
    column.length = 0
  }
  const copy = (from: Extents, row: number): void => {
    out.push(
      from.start.get(row),
      from.count.get(row),
      from.owner.get(row),
      from.offset.get(row),
      from.flags.get(row) & RMAP_FLAGS,
    )
  }
  let m = 0
  for (const row of rows) {
    while (m < metadata.length && compareRmaps(metadata, m, mappings, row) < 0) copy(metadata, m++)
    copy(mappings, row)
  }
  while (m < metadata.length) copy(metadata, m++)
  return out
}
