import { checkAttr } from '../attr/attr.ts'
import { contentToBlock } from '../dir/block.ts'
import { checkName, insertEntry, isEmpty } from '../dir/dir.ts'
import { isShortform } from '../dir/read.ts'
import { FIRST_OFFSET, readShort, type ShortEntry, shortFits, writeShort } from '../dir/shortform.ts'
import { XfsError } from '../errors.ts'
import { DIFLAGS, FILE_TYPES, FORKOFF_UNIT, MAX_ID, S_IFMT } from '../format/dinode.ts'
import { DirBlockTail, DirLeafEntry, fileTypeOfMode } from '../format/dir.ts'
import { dataEntrySize } from '../format/dirblocks.ts'
import { sfEntrySize, sfHeaderSize } from '../format/dirshortform.ts'
import type { Ino } from '../format/geometry.ts'
import type { Timestamp } from '../format/time.ts'
import { allocDirectoryInodes, allocInodes } from '../inode/ialloc.ts'
import { forkSize, type Inode, inodeAt, literalSize, openInode, packDevice, updateInode } from '../inode/inode.ts'
import { inodeBlock, usualForkoff } from '../mapping/fork.ts'
import { checkTarget } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { BlockPool } from './blockpool.ts'
import { changeLinks, countLink, hasFlag, requireLinkable, requireWritable, touchContent } from './links.ts'
import { placeContent } from './newcontent.ts'
import { InodeWriter, type NewChild, type NewLink } from './newinodes.ts'

/**
 * Create files and links: one for a command, or many in several directories for copies of trees
 * (newinodes.ts: inodes, newcontent.ts: contents).
 *
 *   inodes    one change of inobt and finobt for up to 64 of them
 *   blocks    one allocation per AG, cut into directory blocks and the files' extents
 *                                                                       │ dir │ a │ b b │ c │ …
 *   inode     written completely, forks included; parent pointer and attributes inside if they fit
 *   entries   of an empty directory written at once, else one by one
 *
 * Everything happens in the caller's transaction.
 */

/** New names in one directory. None of them exists. */
interface Population {
  /** It exists, or is created by an earlier population of the same call. */
  readonly dir: { readonly ino?: Ino | undefined }
  readonly children: readonly (NewChild | NewLink)[]
  /**
   * The files are copies: they inherit no group, setgid bit or access control list from the
   * directory.
   */
  readonly copies?: boolean
  /**
   * The contents of all its regular files, in complete blocks: see ContentRun. In shared memory
   * they can be written while other work continues.
   */
  readonly arena?: Uint8Array
  /** The `ContentRun.at` of the first block of `arena`. */
  readonly start?: number
  /** The directory's times afterwards (default: its mtime is the current time). */
  readonly times?: { readonly atime: Timestamp; readonly mtime: Timestamp } | undefined
}

const NOTHING = new Uint8Array(0)

const isLink = (child: NewChild | NewLink): child is NewLink => 'link' in child
const isDirectory = ({ mode }: NewChild): boolean => (mode & S_IFMT) === FILE_TYPES.dir

/**
 * Create files and links.
 * @throws XfsError NOSPC, INVAL or NAMETOOLONG (a name), PERM, NOENT (a link to a file that was not
 *   created), XDEV (a link, project), RANGE (links); the transaction must then be cancelled
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
  const inode = inodeAt(tx.volume, dir.ino, tx)
  // It is not written yet if an earlier population creates it.
  if (inode.mode !== 0) requireWritable(inode)
  for (const { name } of children) checkName(name)
  const fresh = children.filter((child): child is NewChild => !isLink(child))
  for (const child of fresh) checkNew(inode, child)
  const files = fresh.filter((child) => !isDirectory(child))
  const directories = fresh.filter(isDirectory)
  if (files.length > 0) number(files, allocInodes(tx, dir.ino, files.length))
  if (directories.length > 0) number(directories, allocDirectoryInodes(tx, directories.length))
}

function checkNew(dir: Inode, { mode, uid = 0, gid = 0, target, device, attrs = [] }: NewChild): void {
  for (const id of [uid, gid])
    if (!(id >= 0 && id <= MAX_ID)) throw new XfsError('INVAL', `user or group ${id} exceeds maximum ${MAX_ID}`)
  if ((mode & S_IFMT) === FILE_TYPES.lnk) {
    if (hasFlag(dir, DIFLAGS.nosymlinks))
      throw new XfsError('PERM', `directory ${dir.ino} does not allow symbolic links`, { ino: dir.ino })
    checkTarget(target ?? NOTHING)
  }
  if (device) packDevice(device)
  for (const attr of attrs) checkAttr(attr, attr.value)
}

function number(children: readonly NewChild[], inos: readonly Ino[]): void {
  children.forEach((child, i) => {
    child.ino = inos[i]
  })
}

function populateOne(tx: Transaction, population: Population, pools: BlockPools): void {
  const { children, copies = false, arena = NOTHING, start = 0, times } = population
  const dir = openInode(tx.volume, population.dir.ino as Ino, tx)
  requireWritable(dir)
  const writer = new InodeWriter(tx, dir, copies)
  const placed = writer.hinted ? undefined : placeContent(tx, pools.of(dir), arena, start)
  let directories = 0
  for (const child of children) {
    if (isLink(child)) continue
    child.generation = writer.write(child.ino as Ino, child, child.name, { arena, start, placed }).generation
    if (isDirectory(child)) directories++
  }
  const list = children.map((child) => {
    const { ino, ftype } = target(tx, dir, child)
    return { name: child.name, ino, ftype }
  })
  addEntries(tx, dir, list, pools.of(dir))
  for (const child of children)
    if (isLink(child)) countLink(tx, dir, child.name, openInode(tx.volume, child.link.ino as Ino, tx))
  if (directories > 0) changeLinks(tx, dir, directories)
  touchContent(tx, dir)
  if (times) updateInode(tx, dir, times)
}

/** The inode that an entry points to, and its type. */
function target(tx: Transaction, dir: Inode, child: NewChild | NewLink): { ino: Ino; ftype: number } {
  if (!isLink(child)) return { ino: child.ino as Ino, ftype: fileTypeOfMode(child.mode) }
  const { ino, generation } = child.link
  const inode = ino === undefined ? undefined : inodeAt(tx.volume, ino, tx)
  if (!inode || inode.mode === 0 || inode.generation !== (generation ?? inode.generation))
    throw new XfsError('NOENT', 'the target of the hard link does not exist')
  requireLinkable(dir, inode)
  return { ino: inode.ino, ftype: fileTypeOfMode(inode.mode) }
}

/**
 * The pools of all AGs, filled with the blocks that the populations need: the contents of files
 * near their directory, and directory blocks. (A directory block of several filesystem blocks is
 * allocated separately, since the blocks of a pool need not be contiguous.)
 */
class BlockPools {
  readonly #tx: Transaction
  readonly #pools = new Map<number, BlockPool>()

  constructor(tx: Transaction, populations: readonly Population[]) {
    this.#tx = tx
    const { geometry } = tx.volume
    const needed = new Map<number, number>()
    for (const { dir, children, arena = NOTHING } of populations) {
      const ino = dir.ino as Ino
      const agno = geometry.inoAgno(ino)
      const block = geometry.dirblocks === 1 && needsBlock(tx, ino, children) ? 1 : 0
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
    else contentToBlock(tx, dir, content, tx.volume.geometry.dirblocks === 1 ? pool.take(1).fsbno : undefined)
  }
  for (const { name, ino, ftype } of list.slice(done)) insertEntry(tx, dir, name, ino, ftype)
}
