import type { Salvage } from '../../device/salvage.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { ATTR_FORK } from '../extents.ts'
import type { Findings } from '../findings.ts'
import type { AgResult } from '../result.ts'

/** Report the bytes of the filesystem that cannot be read, and the files whose data they hold. */
export function reportUnreadable(
  geometry: Geometry,
  { unreadable }: Salvage,
  ags: readonly AgResult[],
  findings: Findings,
): void {
  if (unreadable.size === 0) return
  for (const { start, length } of unreadable) {
    const truncated = start + length >= geometry.sb.dblocks * geometry.blocksize
    const reason = truncated ? 'the image is truncated' : 'input/output error'
    findings.add('image.unreadable', { start, len: length, reason })
  }
  const files = new Map<number, { bytes: number; offset: number }>()
  for (const { ag } of ags) addFiles(geometry, unreadable, ag, files)
  for (const [ino, { bytes, offset }] of [...files].sort(([a], [b]) => a - b))
    findings.add('file.unreadable', { ino, bytes, offset })
}

function addFiles(
  { blocksize, daddr }: Geometry,
  unreadable: Salvage['unreadable'],
  { agno, mappings }: AgResult['ag'],
  files: Map<number, { bytes: number; offset: number }>,
): void {
  for (let row = 0; row < mappings.length; row++) {
    const position = daddr(agno, mappings.start.get(row)) * BASIC_BLOCK
    const end = position + mappings.count.get(row) * blocksize
    if ((mappings.flags.get(row) & ATTR_FORK) !== 0 || !unreadable.overlaps(position, end - position)) continue
    for (const run of unreadable.runsFrom(position)) {
      if (run.start >= end) break
      const from = Math.max(run.start, position)
      const bytes = Math.min(run.start + run.length, end) - from
      const offset = mappings.offset.get(row) * blocksize + (from - position)
      const known = files.get(mappings.owner.get(row))
      files.set(mappings.owner.get(row), {
        bytes: bytes + (known?.bytes ?? 0),
        offset: Math.min(offset, known?.offset ?? offset),
      })
    }
  }
}
