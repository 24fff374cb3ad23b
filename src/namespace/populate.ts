import { checkAttr } from '../attr/attr.ts'
import { addParent } from '../attr/parent.ts'
import { contentToBlock } from '../dir/block.ts'
import { checkName, insertEntry, isEmpty } from '../dir/dir.ts'
import { isShortform } from '../dir/read.ts'
import { FIRST_OFFSET, readShort, type ShortEntry, shortFits, writeShort } from '../dir/shortform.ts'
import { XfsError } from '../errors.ts'
import { DIFLAGS, FILE_TYPES, FORKOFF_UNIT, MAX_ID, S_IFMT } from '../format/dinode.ts'
import { DirBlockTail, DirLeafEntry, dataEntrySize, fileTypeOfMode, sfEntrySize, sfHeaderSize } from '../format/dir.ts'
import type { Ino } from '../format/geometry.ts'
import type { Timestamp } from '../format/time.ts'
import { allocDirectoryInodes, allocInodes } from '../inode/ialloc.ts'
import {
  forkSize,
  type Inode,
  inodeAt,
  literalSize,
  openInode,
  packDevice,
  touchInode,
  updateInode,
} from '../inode/inode.ts'
import { inodeBlock, usualForkoff } from '../mapping/fork.ts'
import { checkTarget } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { BlockPool } from './blockpool.ts'
import { placeContent } from './newcontent.ts'
import { InodeWriter, type NewChild, type NewLink } from './newinodes.ts'

/**
 * Many new files at once, for copying trees. This does for the entries of many directories together
 * what `createIn` does for one entry (newinodes.ts: inodes, newcontent.ts: contents):
 *
 *   inodes    one change of inobt and finobt for up to 64 of them
 *   blocks    one allocation per AG, cut into directory blocks and the files' extents
 *                                                                       │ dir │ a │ b b │ c │ …
 *   inode     written completely, forks included; parent pointer and attributes inside if they fit
 *   entries   of an empty directory written at once, else one by one
 *
 * The result is the same as that of single operations, except that times are given by the caller.
 * Everything happens in the caller's transaction.
 */

/** New files of one directory, which does not contain these names. */
interface Population {
  /** It exists, or is created by an earlier population of the same call. */
  readonly dir: { readonly ino?: Ino | undefined }
  readonly children: readonly (NewChild | NewLink)[]
  /**
   * The contents of all its regular files, in complete blocks: see ContentRun. In shared memory
   * they can be written while other work continues.
   */
  readonly arena: Uint8Array
  /** The `ContentRun.at` of the first block of `arena`. */
  readonly start: number
  /** The directory's times afterwards (default: its mtime is the current time). */
  readonly times?: { readonly atime: Timestamp; readonly mtime: Timestamp } | undefined
}

const isLink = (child: NewChild | NewLink): child is NewLink => 'link' in child
const isDirectory = ({ mode }: NewChild): boolean => (mode & S_IFMT) === FILE_TYPES.dir

/**
 * Create files.
 * @throws XfsError NOSPC, INVAL or NAMETOOLONG (a name), PERM, NOENT (a link to a file that was not
 *   created); the transaction must then be cancelled
 */
export function populate(tx: Transaction, populations: readonly Population[]): void {
  for (const population of populations) takeNumbers(tx, population)
  const blocks = new BlockPools(tx, populations)
  try {
    for (const population of populations) populateOne(tx, population, blocks)
  } finally {
    // The contents of the files are written meanwhile.
    tx.volume.device.behind?.settle()
  }
  blocks.release()
}

function takeNumbers(tx: Transaction, { dir, children }: Population): void {
  if (dir.ino === undefined) throw new XfsError('NOENT', 'its directory was not created')
  for (const { name } of children) checkName(name)
  const fresh = children.filter((child): child is NewChild => !isLink(child))
  for (const child of fresh) checkNew(child)
  const files = fresh.filter((child) => !isDirectory(child))
  const directories = fresh.filter(isDirectory)
  if (files.length > 0) number(files, allocInodes(tx, dir.ino, files.length))
  if (directories.length > 0) number(directories, allocDirectoryInodes(tx, directories.length))
}

function checkNew({ mode, uid, gid, target, device, attrs = [] }: NewChild): void {
  for (const id of [uid, gid])
    if (!(id >= 0 && id <= MAX_ID)) throw new XfsError('INVAL', `user or group ${id} exceeds maximum ${MAX_ID}`)
  if ((mode & S_IFMT) === FILE_TYPES.lnk) checkTarget(target ?? new Uint8Array(0))
  if (device) packDevice(device)
  for (const attr of attrs) checkAttr(attr, attr.value)
}

function number(children: readonly NewChild[], inos: readonly Ino[]): void {
  children.forEach((child, i) => {
    child.ino = inos[i]
  })
}

function populateOne(tx: Transaction, population: Population, pools: BlockPools): void {
  const { children, arena, start, times } = population
  const dir = openInode(tx.volume, population.dir.ino as Ino, tx)
  if (!dir.isDirectory) throw new XfsError('NOTDIR', `inode ${dir.ino} is not a directory`, { ino: dir.ino })
  if ((dir.flags & DIFLAGS.immutable) !== 0)
    throw new XfsError('PERM', `directory ${dir.ino} is immutable`, { ino: dir.ino })
  const writer = new InodeWriter(tx, dir)
  const placed = writer.hinted ? undefined : placeContent(tx, pools.of(dir), arena, start)
  let directories = 0
  for (const child of children) {
    if (isLink(child)) continue
    writer.write(child, placed, arena, start)
    if (isDirectory(child)) directories++
  }
  const list = children.map((child) => {
    const { ino, ftype } = target(tx, child)
    return { name: child.name, ino, ftype }
  })
  addEntries(tx, dir, list, pools.of(dir))
  for (const child of children) if (isLink(child)) addLink(tx, dir, child)
  if (directories > 0) updateInode(tx, dir, { nlink: dir.nlink + directories })
  if (times) updateInode(tx, dir, { ...times, ctime: tx.volume.now() })
  else touchInode(tx, dir, { mtime: true, ctime: true })
}

/** The inode that an entry points to, and its type. */
function target(tx: Transaction, child: NewChild | NewLink): { ino: Ino; ftype: number } {
  if (!isLink(child)) return { ino: child.ino as Ino, ftype: fileTypeOfMode(child.mode) }
  const { ino, generation } = child.link
  const inode = ino === undefined ? undefined : inodeAt(tx.volume, ino, tx)
  if (!inode || inode.mode === 0 || inode.generation !== (generation ?? inode.generation))
    throw new XfsError('NOENT', 'the target of the hard link does not exist')
  return { ino: inode.ino, ftype: fileTypeOfMode(inode.mode) }
}

function addLink(tx: Transaction, dir: Inode, { name, link }: NewLink): void {
  const inode = openInode(tx.volume, link.ino as Ino, tx)
  updateInode(tx, inode, { nlink: inode.nlink + 1 })
  touchInode(tx, inode, { ctime: true })
  addParent(tx, inode, dir, name)
}

/**
 * The pools of all AGs, filled with the blocks that the populations need: the contents of files
 * near their directory.
 */
class BlockPools {
  readonly #tx: Transaction
  readonly #pools = new Map<number, BlockPool>()

  constructor(tx: Transaction, populations: readonly Population[]) {
    this.#tx = tx
    const { geometry } = tx.volume
    const needed = new Map<number, number>()
    for (const { dir, children, arena } of populations) {
      const ino = dir.ino as Ino
      const agno = geometry.inoAgno(ino)
      const block = needsBlock(tx, ino, children) ? geometry.dirblocks : 0
      needed.set(agno, (needed.get(agno) ?? 0) + arena.length / geometry.blocksize + block)
      if (!this.#pools.has(agno))
        this.#pools.set(agno, new BlockPool(tx, geometry.fsbno(agno, geometry.aginoAgbno(geometry.inoAgino(ino)))))
    }
    for (const [agno, count] of needed) this.#pools.get(agno)?.fill(count)
  }

  /** The pool of a directory's AG. */
  of(dir: Inode): BlockPool {
    const pool = this.#pools.get(dir.agno) ?? new BlockPool(this.#tx, inodeBlock(dir))
    this.#pools.set(dir.agno, pool)
    return pool
  }

  release(): void {
    for (const pool of this.#pools.values()) pool.release()
  }
}

/** True if these entries, in an otherwise empty directory, probably need a block. */
function needsBlock(tx: Transaction, ino: Ino, children: readonly (NewChild | NewLink)[]): boolean {
  const names = children.reduce((sum, { name }) => sum + sfEntrySize(name.length, 0), sfHeaderSize(0))
  const inode = inodeAt(tx.volume, ino, tx)
  const literal = literalSize(tx.volume)
  const room =
    inode.mode !== 0
      ? forkSize(inode, 'data')
      : tx.volume.features.has('parent')
        ? usualForkoff(tx.volume) * FORKOFF_UNIT
        : literal
  return names > room && (inode.mode === 0 || (isShortform(inode) && isEmpty(inode, tx)))
}

interface NewEntry {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
}

/** Add all entries; the first block of an empty directory is written at once. */
function addEntries(tx: Transaction, dir: Inode, list: readonly NewEntry[], pool: BlockPool): void {
  let done = 0
  if (isShortform(dir) && isEmpty(dir, tx)) {
    const { parent } = readShort(dir)
    const { dirblocksize } = tx.volume.geometry
    const laidOut: ShortEntry[] = []
    let offset = FIRST_OFFSET
    for (const entry of list) {
      const next = offset + dataEntrySize(entry.name.length)
      if (next + (laidOut.length + 3) * DirLeafEntry.size + DirBlockTail.size > dirblocksize) break
      laidOut.push({ name: entry.name, ino: entry.ino, ftype: entry.ftype, offset })
      offset = next
    }
    done = laidOut.length
    const content = { parent, entries: laidOut }
    if (done === list.length && shortFits(dir, content)) writeShort(tx, dir, content)
    else contentToBlock(tx, dir, content, pool.takeWhole(tx.volume.geometry.dirblocks))
  }
  for (const { name, ino, ftype } of list.slice(done)) insertEntry(tx, dir, name, ino, ftype)
}
