import type { Geometry } from '../../format/geometry.ts'
import type { Blocks } from '../expect/blocks.ts'
import { sharingRows } from '../expect/sharing.ts'
import type { Findings } from '../findings.ts'
import { InodeFlag, InodeState, type Inodes } from '../observe/inodetable.ts'

/** Each inode with a shared block must have the reflink flag. */
export function compareReflinkFlags(
  geometry: Geometry,
  inodes: Inodes,
  agno: number,
  blocks: Blocks,
  findings: Findings,
): void {
  if (!geometry.features.has('reflink') || blocks.counts.start.length === 0) return
  const { mappings } = blocks
  for (const row of sharingRows(blocks)) {
    const ino = mappings.owner.get(row)
    const slot = inodes.slot(ino)
    if (slot < 0 || inodes.state.get(slot) !== InodeState.sound || (inodes.flags.get(slot) & InodeFlag.reflink) !== 0)
      continue
    findings.add('inode.reflink', { ino, agno, agbno: mappings.start.get(row), len: mappings.count.get(row) })
  }
}
