import { checkAttr, setAttr } from '../attr/attr.ts'
import { addParent } from '../attr/parent.ts'
import { writeWithin } from '../data/write.ts'
import { contentToBlock } from '../dir/block.ts'
import { checkName, insertEntry, isEmpty } from '../dir/dir.ts'
import { isShortform } from '../dir/read.ts'
import { FIRST_OFFSET, readShort, type ShortEntry, shortFits, writeShort } from '../dir/shortform.ts'
import { XfsError } from '../errors.ts'
import { AttrFlags, AttrSfHdr, attrSfEntrySize, buildAttrSf, buildParentRec } from '../format/attr.ts'
import { BmbtRec } from '../format/btrecs.ts'
import { DevFork, DIFLAGS, Dinode, FORK_FORMATS } from '../format/dinode.ts'
import { buildSf, dataEntrySize, fileTypeOfMode } from '../format/dir.ts'
import { BASIC_BLOCK, type Ino } from '../format/geometry.ts'
import { encodeNewInode, newFlags2 } from '../format/newinode.ts'
import { encodeTime, type Timestamp } from '../format/time.ts'
import { allocDirectoryInodes, allocInodes } from '../inode/ialloc.ts'
import { type Hints, inherited, NO_HINTS } from '../inode/inherit.ts'
import {
  FILE_TYPES,
  forkSize,
  type Inode,
  inodeAt,
  inodeError,
  literalSize,
  openInode,
  packDevice,
  S_IFMT,
  touchInode,
  updateInode,
} from '../inode/inode.ts'
import { extentBefore, mapExtent } from '../mapping/bmap.ts'
import { defaultForkoff, inodeBlock, usualForkoff } from '../mapping/fork.ts'
import { allocExtent, extentFree } from '../space/alloc.ts'
import { addNewRmap, rmapRec } from '../space/rmap.ts'
import { checkTarget, writeSymlink } from '../symlink.ts'
import type { Transaction } from '../tx/transaction.ts'
import { unitStart } from '../util/bytes.ts'

/**
 * Many new files at once, for copying trees. What `createIn` does for one name at a time is done here for those of many directories together:
 *
 *   inodes    taken by the chunk                 one change of inobt and finobt for up to 64 of them
 *   blocks    one allocation for each group      ─▶ cut into directory blocks and the files' extents   │ dir │ a │ b b │ c │ …
 *   inode     written whole, forks included      parent pointer and attributes inside where they fit
 *   entries   a directory laid out at once       where it was empty; else one by one
 *
 * The result is the same as that of the slow way; times are those given, not the present. Everything happens in the caller's transaction.
 */

/** A file, by its inode once it is made. */
export interface FileRef {
  ino?: Ino | undefined
  /** Of a file that was made here: the inode's then, so that it is not taken for a later file of that number. */
  generation?: number | undefined
}

/** A file to be made. What it is as a FileRef is filled in. */
export interface NewChild extends FileRef {
  readonly name: Uint8Array
  /** Type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atime: Timestamp
  readonly mtime: Timestamp
  /** Of a device node. */
  readonly device?: { readonly major: number; readonly minor: number } | undefined
  /** Of a symbolic link. */
  readonly target?: Uint8Array | undefined
  attrs?: readonly NewChildAttr[] | undefined
  content?: NewContent | undefined
}

/** A further name of a file that was made before, or is made by the same call. */
export interface NewLink {
  readonly name: Uint8Array
  readonly link: Readonly<FileRef>
}

/** As it is kept: see xattrs.ts for names and values that programs use. */
export interface NewChildAttr {
  readonly space: number
  readonly name: Uint8Array
  readonly value: Uint8Array
}

/** What a regular file holds: runs of whole blocks, zeros behind its end; gaps are holes. */
export interface NewContent {
  readonly size: number
  readonly runs: readonly ContentRun[]
}

export interface ContentRun {
  /** In the file, in blocks. */
  readonly startoff: number
  readonly blockcount: number
  /** The first of them among the blocks of all contents. Runs of all files follow each other there without gaps, in the order of the children. */
  readonly at: number
}

/** New files of one directory, which has none of these names. */
export interface Population {
  /** Made before, or by an earlier population of the same call. */
  readonly dir: { readonly ino?: Ino | undefined }
  readonly children: readonly (NewChild | NewLink)[]
  /** The contents of all its regular files, in whole blocks: see ContentRun. In shared memory they can be written while the rest is done. */
  readonly arena: Uint8Array
  /** What `ContentRun.at` says of the first block of `arena`. */
  readonly start: number
  /** The directory's times afterwards; without them that of its modification is the present. */
  readonly times?: { readonly atime: Timestamp; readonly mtime: Timestamp } | undefined
}

/** Do files of these flags get their blocks aligned to a hint? */
const isHinted = (flags: number): boolean => (flags & (DIFLAGS.extsize | DIFLAGS.realtime)) !== 0

const isLink = (child: NewChild | NewLink): child is NewLink => 'link' in child
const isDirectory = ({ mode }: NewChild): boolean => (mode & S_IFMT) === FILE_TYPES.dir
const fields = Dinode.fields

/**
 * Make files.
 * @throws XfsError NOSPC, INVAL or NAMETOOLONG (a name), PERM, NOENT (a link to a file that was not made); the transaction is then to be cancelled
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
  if (dir.ino === undefined) throw new XfsError('NOENT', 'its directory could not be made')
  for (const { name } of children) checkName(name)
  const fresh = children.filter((child): child is NewChild => !isLink(child))
  for (const child of fresh) checkNew(child)
  const files = fresh.filter((child) => !isDirectory(child))
  const directories = fresh.filter(isDirectory)
  if (files.length > 0) number(files, allocInodes(tx, dir.ino, files.length))
  if (directories.length > 0) number(directories, allocDirectoryInodes(tx, directories.length))
}

/** The largest number of a user or group: the next one means none. */
const MAX_ID = 2 ** 32 - 2

function checkNew({ mode, uid, gid, target, device, attrs = [] }: NewChild): void {
  for (const id of [uid, gid])
    if (!(id >= 0 && id <= MAX_ID)) throw new XfsError('INVAL', `user or group ${id}: the largest is ${MAX_ID}`)
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

/** The inode that an entry leads to, and its type. */
function target(tx: Transaction, child: NewChild | NewLink): { ino: Ino; ftype: number } {
  if (!isLink(child)) return { ino: child.ino as Ino, ftype: fileTypeOfMode(child.mode) }
  const { ino, generation } = child.link
  const inode = ino === undefined ? undefined : inodeAt(tx.volume, ino, tx)
  if (!inode || inode.mode === 0 || inode.generation !== (generation ?? inode.generation))
    throw new XfsError('NOENT', 'the file that it is a hard link to does not exist')
  return { ino: inode.ino, ftype: fileTypeOfMode(inode.mode) }
}

function addLink(tx: Transaction, dir: Inode, { name, link }: NewLink): void {
  const inode = openInode(tx.volume, link.ino as Ino, tx)
  updateInode(tx, inode, { nlink: inode.nlink + 1 })
  touchInode(tx, inode, { ctime: true })
  addParent(tx, inode, dir, name)
}

// ------------------------------------------------------------------------------------------------ blocks

interface Run {
  fsbno: number
  length: number
}

/** Blocks of one group for the files of this call, in few runs. */
class BlockPool {
  readonly #tx: Transaction
  readonly #runs: Run[] = []
  #near: number

  constructor(tx: Transaction, near: number) {
    this.#tx = tx
    this.#near = near
  }

  /** Have `count` blocks ready. @throws XfsError NOSPC */
  fill(count: number): void {
    for (let left = count; left > 0; ) {
      const { fsbno, length } = allocExtent(this.#tx, { near: this.#near, minLength: 1, maxLength: left })
      this.#runs.push({ fsbno, length })
      left -= length
      this.#near = fsbno + length
    }
  }

  /** Take up to `most` blocks in one piece. */
  take(most: number): Run {
    const first = this.#runs[0]
    if (!first) {
      this.fill(most)
      return this.take(most)
    }
    const length = Math.min(most, first.length)
    const run = { fsbno: first.fsbno, length }
    first.fsbno += length
    first.length -= length
    if (first.length === 0) this.#runs.shift()
    return run
  }

  /** Take exactly `count` blocks in one piece, if there is one; undefined: allocate them otherwise. */
  takeWhole(count: number): number | undefined {
    return (this.#runs[0]?.length ?? 0) >= count ? this.take(count).fsbno : undefined
  }

  /** Give back what nobody took. */
  release(): void {
    for (const { fsbno, length } of this.#runs) this.#tx.defer(extentFree, { fsbno, blockcount: length })
  }
}

/** The pools of all groups, filled with what the populations need: the contents of files near their directory. */
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

  /** The pool of a directory's group. */
  of(dir: Inode): BlockPool {
    const pool = this.#pools.get(dir.agno) ?? new BlockPool(this.#tx, inodeBlock(dir))
    this.#pools.set(dir.agno, pool)
    return pool
  }

  release(): void {
    for (const pool of this.#pools.values()) pool.release()
  }
}

/** Will these entries, in a directory without others, probably take a block of their own? */
function needsBlock(tx: Transaction, ino: Ino, children: readonly (NewChild | NewLink)[]): boolean {
  const names = children.reduce((sum, { name }) => sum + name.length + 3 + 1 + 4, 6)
  const inode = inodeAt(tx.volume, ino, tx)
  const literal = literalSize(tx.volume)
  const room =
    inode.mode !== 0
      ? forkSize(inode, 'data')
      : tx.volume.features.has('parent')
        ? usualForkoff(tx.volume) * 8
        : literal
  return names > room && (inode.mode === 0 || (isShortform(inode) && isEmpty(inode, tx)))
}

// ------------------------------------------------------------------------------------------------ content

/** Where a part of the contents was written. */
interface Placed {
  readonly at: number
  readonly length: number
  readonly fsbno: number
}

/**
 * More content for a file that has none yet where it goes, and shares nothing: its blocks are allocated together, one behind
 * the other, however many holes lie between them in the file. Its size stays as it is.
 * @param arena  the blocks of the runs, whole
 * @throws XfsError NOSPC, FBIG, TOOBIG
 */
export function addContent(tx: Transaction, inode: Inode, runs: readonly ContentRun[], arena: Uint8Array): void {
  const { volume } = tx
  const { blocksize } = volume.geometry
  const [first] = runs
  if (!first) return
  if (isHinted(inode.flags)) {
    for (const { startoff, blockcount, at } of runs) {
      const bytes = arena.subarray((at - first.at) * blocksize, (at - first.at + blockcount) * blocksize)
      writeWithin(tx, inode, unitStart(startoff, blocksize), bytes, { keepTimes: true })
    }
    return
  }
  const before = extentBefore(inode, 'data', first.startoff, tx)
  const pool = new BlockPool(tx, before ? before.startblock + before.blockcount : inodeBlock(inode))
  pool.fill(arena.length / blocksize)
  try {
    const placed = placeContent(tx, pool, arena, first.at)
    for (const rec of extentsOf(runs, placed)) mapExtent(tx, inode, 'data', rec)
  } finally {
    volume.device.behind?.settle()
  }
}

/** Write the whole arena, which begins with block `start` of all contents, to blocks of the pool. */
function placeContent(tx: Transaction, pool: BlockPool, arena: Uint8Array, start: number): Placed[] {
  const { volume } = tx
  const { blocksize, fsbToDaddr } = volume.geometry
  const blocks = arena.length / blocksize
  const writer = (arena.buffer instanceof SharedArrayBuffer && volume.device.behind) || volume.device
  const placed: Placed[] = []
  for (let at = 0; at < blocks; ) {
    const { fsbno, length } = pool.take(blocks - at)
    const daddr = fsbToDaddr(fsbno)
    volume.beforeReuse(daddr, length * blocksize)
    writer.write(arena.subarray(at * blocksize, (at + length) * blocksize), daddr * BASIC_BLOCK)
    const last = placed.at(-1)
    if (
      last &&
      last.fsbno + last.length === fsbno &&
      volume.geometry.agnoOf(last.fsbno) === volume.geometry.agnoOf(fsbno)
    ) {
      placed[placed.length - 1] = { ...last, length: last.length + length }
    } else placed.push({ at: start + at, length, fsbno })
    at += length
  }
  return placed
}

/** The extents of a file, cut out of what was placed. */
function* extentsOf(runs: readonly ContentRun[], placed: readonly Placed[]): Generator<BmbtRec> {
  for (const { startoff, blockcount, at } of runs) {
    let low = 0
    for (let high = placed.length; high - low > 1; ) {
      const middle = (low + high) >> 1
      if ((placed[middle] as Placed).at <= at) low = middle
      else high = middle
    }
    for (let done = 0; done < blockcount; low++) {
      const piece = placed[low] as Placed
      const skip = at + done - piece.at
      const length = Math.min(blockcount - done, piece.length - skip)
      yield { extentflag: 0, startoff: startoff + done, startblock: piece.fsbno + skip, blockcount: length }
      done += length
    }
  }
}

// ------------------------------------------------------------------------------------------------- inodes

/** Shortform names and values are shorter than this. */
const TOO_LONG = 255

class InodeWriter {
  readonly #tx: Transaction
  readonly #dir: Inode
  /** A whole inode with all that is the same for every child. */
  readonly #model: Uint8Array
  readonly #literal: number
  readonly #parent: Uint8Array | undefined
  readonly #hints: { readonly file: Hints; readonly dir: Hints }
  readonly #bigtime: boolean
  readonly #nrext64: boolean
  /** Files get their blocks aligned to a hint: not many at once. */
  readonly hinted: boolean

  constructor(tx: Transaction, dir: Inode) {
    const { volume } = tx
    const { features, geometry } = volume
    this.#tx = tx
    this.#dir = dir
    this.#literal = literalSize(volume)
    this.#bigtime = features.has('bigtime')
    this.#nrext64 = features.has('nrext64')
    this.#hints = { file: inherited(dir, false), dir: inherited(dir, true) }
    this.hinted = isHinted(this.#hints.file.flags)
    this.#parent = features.has('parent') ? buildParentRec({ inumber: dir.ino, gen: dir.generation }) : undefined
    this.#model = new Uint8Array(geometry.inodesize)
    const view = new DataView(this.#model.buffer)
    const now = encodeTime(volume.now(), this.#bigtime)
    const projid = (dir.flags & DIFLAGS.projinherit) !== 0 ? dir.projid : 0
    encodeNewInode(view, 0, geometry, { projid, ctime: now, crtime: now })
  }

  write(child: NewChild, placed: readonly Placed[] | undefined, arena: Uint8Array, start: number): void {
    const tx = this.#tx
    const { volume } = tx
    const ino = child.ino as Ino
    const inode = inodeAt(volume, ino, tx)
    if (inode.mode !== 0) throw inodeError(ino, 'the inobt says that it is free, but it is in use', 'mode')
    const { generation, at, buf } = inode
    child.generation = generation
    const view = tx.edit(buf)
    buf.bytes.set(this.#model, at)
    const type = child.mode & S_IFMT
    const isDirectory = type === FILE_TYPES.dir
    const isRegular = type === FILE_TYPES.reg
    const hints = isRegular ? this.#hints.file : isDirectory ? this.#hints.dir : NO_HINTS
    const flags2 = hints.flags2 | newFlags2(volume.geometry)
    fields.mode.set(view, at, child.mode)
    fields.uid.set(view, at, child.uid)
    fields.gid.set(view, at, child.gid)
    fields.atime.set(view, at, encodeTime(child.atime, this.#bigtime))
    fields.mtime.set(view, at, encodeTime(child.mtime, this.#bigtime))
    fields.flags.set(view, at, hints.flags)
    fields.flags2.set(view, at, { hi: 0, lo: flags2 >>> 0 })
    fields.extsize.set(view, at, hints.extsize)
    fields.cowextsize.set(view, at, hints.cowextsize)
    fields.gen.set(view, at, generation)
    fields.inumber.set(view, at, ino)
    if (isDirectory) fields.nlink.set(view, at, 2)
    const special = !isRegular && !isDirectory && type !== FILE_TYPES.lnk
    if (special) this.#setDevice(view, at, child)
    const forkoff = this.#parent ? defaultForkoff(inode) : 0
    fields.forkoff.set(view, at, forkoff)
    const room = forkoff === 0 ? this.#literal : forkoff * 8
    if (isDirectory) this.#setLocal(buf.bytes, view, at, buildSf(this.#dir.ino, []))
    else if (child.target && child.target.length > 0 && child.target.length <= room)
      this.#setLocal(buf.bytes, view, at, child.target)
    const later = child.content && placed ? this.#setExtents(view, inode, child.content, placed, room) : undefined
    const unwritten = this.#setAttrs(buf.bytes, view, inode, child, forkoff)
    for (const attr of unwritten) setAttr(tx, inode, attr, attr.value)
    if (later) this.#mapLater(inode, child.content as NewContent, later)
    if (child.target && fields.format.get(inode.view, at) !== FORK_FORMATS.local) writeSymlink(tx, inode, child.target)
    if (child.content && !placed) this.#writeHinted(inode, child.content, arena, start)
  }

  #setDevice(view: DataView, at: number, { device }: NewChild): void {
    fields.format.set(view, at, FORK_FORMATS.dev)
    if (device) DevFork.fields.dev.set(view, at + this.#tx.volume.geometry.coresize, packDevice(device))
  }

  #setLocal(bytes: Uint8Array, view: DataView, at: number, content: Uint8Array): void {
    fields.format.set(view, at, FORK_FORMATS.local)
    fields.size.set(view, at, content.length)
    bytes.set(content, at + this.#tx.volume.geometry.coresize)
  }

  /** Extents into the inode. @returns those that have no room there */
  #setExtents(
    view: DataView,
    inode: Inode,
    content: NewContent,
    placed: readonly Placed[],
    room: number,
  ): BmbtRec[] | undefined {
    const tx = this.#tx
    const { at } = inode
    fields.size.set(view, at, content.size)
    const list = [...extentsOf(content.runs, placed)]
    if (list.length * 16 > room) return list
    let blocks = 0
    list.forEach((rec, i) => {
      BmbtRec.encode(view, at + tx.volume.geometry.coresize + i * 16, rec)
      blocks += rec.blockcount
      const { agnoOf, agbnoOf } = tx.volume.geometry
      const owner = { owner: inode.ino, offset: rec.startoff }
      addNewRmap(tx, agnoOf(rec.startblock), rmapRec(agbnoOf(rec.startblock), rec.blockcount, owner))
    })
    fields.nblocks.set(view, at, blocks)
    if (this.#nrext64) fields.big_nextents.set(view, at, list.length)
    else fields.nextents.set(view, at, list.length)
    return undefined
  }

  #mapLater(inode: Inode, content: NewContent, list: readonly BmbtRec[]): void {
    for (const rec of list) mapExtent(this.#tx, inode, 'data', rec)
    updateInode(this.#tx, inode, { size: content.size })
  }

  /** The parent pointer and attributes into the inode. @returns those that have to go the long way */
  #setAttrs(
    bytes: Uint8Array,
    view: DataView,
    inode: Inode,
    child: NewChild,
    forkoff: number,
  ): readonly NewChildAttr[] {
    const attrs = child.attrs ?? []
    const list = this.#parent ? [{ space: AttrFlags.parent, name: child.name, value: this.#parent }, ...attrs] : attrs
    if (forkoff === 0) return list
    let total = AttrSfHdr.size
    for (const { name, value } of list) {
      if (name.length >= TOO_LONG || value.length >= TOO_LONG) return list
      total += attrSfEntrySize(name.length, value.length)
    }
    if (total > this.#literal - forkoff * 8 || list.length > 255) return list
    const start = inode.at + this.#tx.volume.geometry.coresize + forkoff * 8
    bytes.set(buildAttrSf(list.map(({ space, name, value }) => ({ flags: space, name, value }))), start)
    fields.aformat.set(view, inode.at, FORK_FORMATS.local)
    return []
  }

  /** With a hint for extents: as a program would write it. */
  #writeHinted(inode: Inode, content: NewContent, arena: Uint8Array, start: number): void {
    const { blocksize } = this.#tx.volume.geometry
    for (const { startoff, blockcount, at } of content.runs) {
      const end = Math.min(content.size, (startoff + blockcount) * blocksize)
      const from = (at - start) * blocksize
      writeWithin(this.#tx, inode, startoff * blocksize, arena.subarray(from, from + end - startoff * blocksize), {
        keepTimes: true,
      })
    }
    updateInode(this.#tx, inode, { size: content.size })
  }
}

// ------------------------------------------------------------------------------------------------- entries

interface NewEntry {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
}

/** Enter all the names; an empty directory is laid out at once as far as one block goes. */
function addEntries(tx: Transaction, dir: Inode, list: readonly NewEntry[], pool: BlockPool): void {
  let done = 0
  if (isShortform(dir) && isEmpty(dir, tx)) {
    const { parent } = readShort(dir)
    const { dirblocksize } = tx.volume.geometry
    const laidOut: ShortEntry[] = []
    let offset = FIRST_OFFSET
    for (const entry of list) {
      const next = offset + dataEntrySize(entry.name.length)
      if (next + (laidOut.length + 3) * 8 + 8 > dirblocksize) break
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
