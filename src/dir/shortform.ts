import { localError } from '../da/dablock.ts'
import { DIR_ALIGN, DIR_DATA_START, DirBlockTail, DirLeafEntry, FILE_TYPE_COUNT } from '../format/dir.ts'
import { dataEntrySize } from '../format/dirblocks.ts'
import { buildSf, type DirSfEntry, sfEntries, sfParent, sfSize } from '../format/dirshortform.ts'
import { editInode, forkBytes, forkSize, forkStart, type Inode, inodeError, updateInode } from '../inode/inode.ts'
import type { Transaction } from '../tx/transaction.ts'
import { nameRules } from './read.ts'

/**
 * Directories in shortform, inside the inode. They are small, so each change reads all entries and
 * writes them again.
 *
 *   │ count, i8count, parent │ entry │ entry │ …     entry: length, offset, name, type, inumber
 *
 * `offset` is that of the entry in block format, which is also its readdir position. Offsets
 * ascend, and the entries must fit into one directory block. Inode numbers take 4 bytes; if one
 * needs 8, all take 8.
 */
export interface ShortEntry {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
  readonly offset: number
}

export interface ShortDirectory {
  readonly parent: number
  readonly entries: ShortEntry[]
}

/** The offset of the first entry except "." and ".." in block format. */
export const FIRST_OFFSET = DIR_DATA_START + dataEntrySize(1) + dataEntrySize(2)

const MAX_ENTRIES = 255

/** A copy of the content. @throws XfsError CORRUPT */
export function readShort(dir: Inode): ShortDirectory {
  const at = forkStart(dir, 'data')
  try {
    const found: DirSfEntry[] = [...sfEntries(dir.view, at, dir.roundedSize)]
    checkEntries(dir, found)
    return {
      parent: sfParent(dir.view, at),
      entries: found.map(({ name, ino, ftype, offset }) => ({ name: name.slice(), ino, ftype, offset })),
    }
  } catch (error) {
    throw localError(dir, error)
  }
}

/**
 * Check that offsets ascend by at least the size of the previous entry, and that types and inode
 * numbers are valid.
 */
function checkEntries(dir: Inode, entries: readonly ShortEntry[]): void {
  let least = FIRST_OFFSET
  for (const { name, ino, ftype, offset } of entries) {
    if (ftype >= FILE_TYPE_COUNT) throw inodeError(dir.ino, `shortform directory: invalid file type ${ftype}`, 'list')
    if (!dir.volume.geometry.validIno(ino))
      throw inodeError(dir.ino, `shortform directory: inode number ${ino} is out of range`, 'list')
    if (offset < least || offset % DIR_ALIGN !== 0)
      throw inodeError(dir.ino, `shortform directory: entry at offset ${offset}, expected at least ${least}`, 'list')
    least = offset + dataEntrySize(name.length)
  }
  if (!blockFits(dir, entries)) throw inodeError(dir.ino, 'shortform directory: its entries exceed a block', 'list')
}

/** True if a directory with this content fits into the inode. */
export function shortFits(dir: Inode, { parent, entries }: ShortDirectory): boolean {
  return entries.length <= MAX_ENTRIES && blockFits(dir, entries) && sfSize(parent, entries) <= forkSize(dir, 'data')
}

/**
 * Check that the entries, "." and "..", and all leaf entries fit into one block in block format, at
 * their offsets.
 */
function blockFits(dir: Inode, entries: readonly ShortEntry[]): boolean {
  const last = entries.at(-1)
  const end = last ? last.offset + dataEntrySize(last.name.length) : FIRST_OFFSET
  return end + (entries.length + 2) * DirLeafEntry.size + DirBlockTail.size <= dir.volume.geometry.dirblocksize
}

/** Write the content; the directory is in shortform, and it fits. */
export function writeShort(tx: Transaction, dir: Inode, { parent, entries }: ShortDirectory): void {
  const bytes = buildSf(parent, entries)
  editInode(tx, dir)
  const fork = forkBytes(dir, 'data')
  fork.fill(0)
  fork.set(bytes)
  updateInode(tx, dir, { size: bytes.length })
}

/**
 * The content with one more entry; undefined if there is no offset for it, or it does not fit.
 */
export function withEntry(
  dir: Inode,
  content: ShortDirectory,
  name: Uint8Array,
  ino: number,
  ftype: number,
): ShortDirectory | undefined {
  const size = dataEntrySize(name.length)
  const last = content.entries.at(-1)
  const behind = last ? last.offset + dataEntrySize(last.name.length) : FIRST_OFFSET
  const added = (index: number, offset: number): ShortDirectory => {
    const entries = [...content.entries]
    entries.splice(index, 0, { name, ino, ftype, offset })
    return { parent: content.parent, entries }
  }
  const appended = added(content.entries.length, behind)
  if (shortFits(dir, appended)) return appended
  // There may be no space after the last entry in block format, but in a gap.
  let from = FIRST_OFFSET
  for (const [index, entry] of content.entries.entries()) {
    if (from + size <= entry.offset) {
      const inserted = added(index, from)
      return shortFits(dir, inserted) ? inserted : undefined
    }
    from = entry.offset + dataEntrySize(entry.name.length)
  }
  return undefined
}

/** Index of the entry with this name; −1 for none. */
export function indexOf(dir: Inode, content: ShortDirectory, name: Uint8Array): number {
  const { same } = nameRules(dir)
  return content.entries.findIndex((entry) => same(entry.name, name))
}
