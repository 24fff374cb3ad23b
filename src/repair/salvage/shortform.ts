import { DirSfEntryHead, DirSfHead, FILE_TYPE_COUNT } from '../../format/dir.ts'
import { sfEntries, sfEntrySize, sfHeaderSize, sfIno, sfParent } from '../../format/dirshortform.ts'
import { bytesAt } from '../../format/fields.ts'
import type { Geometry } from '../../format/geometry.ts'
import { chainOf } from './chain.ts'
import type { FoundEntry, Salvaged } from './found.ts'

/**
 * Entries of a directory inside an inode. An entry whose length is wrong is recognized by its inode
 * number and file type, which are before the next entry.
 *
 * @param inUse  is it the number of an inode in use?
 */
export function salvageShortform(
  geometry: Geometry,
  view: DataView,
  at: number,
  size: number,
  inUse: (ino: number) => boolean,
): Salvaged {
  const end = at + size
  if (size < sfHeaderSize(0)) return { parent: undefined, entries: [] }
  // The header tells how long inode numbers are. Either is tried if it is damaged.
  const stated = DirSfHead.fields.i8count.get(view, at)
  const found = [stated, stated === 0 ? 1 : 0].map((i8count) => read(geometry, view, at, end, i8count, inUse))
  const [first, other] = found as [FoundEntry[], FoundEntry[]]
  const count = DirSfHead.fields.count.get(view, at)
  const better = first.length < count && other.length > first.length
  const i8count = better ? (stated === 0 ? 1 : 0) : stated
  const parent = i8count === stated ? sfParent(view, at) : sfIno(view, at + DirSfHead.size, i8count)
  return { parent, entries: better ? other : first }
}

function read(
  geometry: Geometry,
  view: DataView,
  at: number,
  end: number,
  i8count: number,
  inUse: (ino: number) => boolean,
): FoundEntry[] {
  const typeOf = (stop: number): number => view.getUint8(stop - inoSize(i8count) - 1)
  const inoOf = (stop: number): number => sfIno(view, stop - inoSize(i8count), i8count)
  const sizeAt = (next: number): number => {
    if (next + DirSfEntryHead.size > end) return 0
    const length = DirSfEntryHead.fields.namelen.get(view, next)
    const size = sfEntrySize(length, i8count)
    if (length === 0 || next + size > end) return 0
    return typeOf(next + size) < FILE_TYPE_COUNT && geometry.validIno(inoOf(next + size)) ? size : 0
  }
  const smallest = sfEntrySize(1, i8count)
  const entries: FoundEntry[] = []
  for (const piece of chainOf(at + sfHeaderSize(i8count), end, 1, sizeAt)) {
    const length = piece.end - piece.at - sfEntrySize(0, i8count)
    if (!piece.valid && (piece.end - piece.at < smallest || length > 255 || !inUse(inoOf(piece.end)))) continue
    const name = bytesAt(view, piece.at + DirSfEntryHead.size, length).slice()
    entries.push({ name, ino: inoOf(piece.end), ftype: typeOf(piece.end) })
  }
  return entries
}

const inoSize = (i8count: number): number => (i8count === 0 ? 4 : 8)

/**
 * Bytes of the directory at `at`, in a fork of `size` bytes.
 * @returns undefined if there is none
 */
export function shortformEnd(geometry: Geometry, view: DataView, at: number, size: number): number | undefined {
  try {
    let end = at + sfHeaderSize(DirSfHead.fields.i8count.get(view, at))
    if (!geometry.validIno(sfParent(view, at))) return undefined
    for (const entry of sfEntries(view, at, size)) {
      if (entry.ftype >= FILE_TYPE_COUNT || !geometry.validIno(entry.ino)) return undefined
      end = entry.at + entry.size
    }
    return end - at
  } catch {
    return undefined
  }
}
