import { Cursor, records } from '../btree/cursor.ts'
import { openTree } from '../btree/roots.ts'
import { presentMask } from '../btree/trees/inobt.ts'
import { XfsError } from '../errors.ts'
import { Agi, NULLAGINO } from '../format/ag.ts'
import { type InobtRec, OWNERS } from '../format/btrecs.ts'
import { DevFork, DIFLAGS, DIFLAGS2, Dinode, FORK_FORMATS, INODES_PER_CHUNK } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { encodeFreeInode, encodeNewInode } from '../format/newinode.ts'
import { Superblock } from '../format/sb.ts'
import type { Mask64 } from '../format/struct.ts'
import { encodeTime } from '../format/time.ts'
import { maxLevels } from '../format/treesizes.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { type AllocRequest, allocExtent, extentFree } from '../space/alloc.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { crc32c } from '../util/crc32c.ts'
import type { BlockReader, Volume } from '../volume.ts'
import {
  FILE_TYPES,
  type Inode,
  inodeAt,
  inodeError,
  literalSize,
  openInode,
  packDevice,
  S_IFMT,
  S_ISGID,
} from './inode.ts'

/**
 * Inodes come and go in chunks of 64, each with a record in inobt (all chunks) and, while it has free inodes, in finobt.
 *
 *   record     startino 128   holemask 0x00f0   count 48   freecount 30   free ▒▒▒…
 *   blocks     │ 128 … 143 │ 144 … 159 │ (hole: other things) │ 176 … 191 │       one bit of holemask: four inodes
 *
 * A new inode is taken from a chunk that has a free one, near its parent (directories are spread over the groups); where a group has none, a
 * chunk is allocated: whole and aligned, or, where free space is too broken up, a part of one. A chunk whose last inode goes is given back.
 * AGI `count` and `freecount`, superblock `icount` and `ifree` count inodes that have blocks.
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c, xfs_inode_util.c.
 */

const { count: agiCount, freecount: agiFreecount, newino: agiNewino, unlinked: agiUnlinked } = Agi.fields
const fields = Dinode.fields

/** Inodes of one bit of a hole mask. */
const INODES_PER_HOLE = 4
const ALL_FREE: Mask64 = { hi: 0xffffffff, lo: 0xffffffff }

// ------------------------------------------------------------------------------------------------- masks

const bitSet = (mask: Mask64, bit: number): boolean => (((bit < 32 ? mask.lo : mask.hi) >>> (bit % 32)) & 1) === 1

function withBit(mask: Mask64, bit: number, on: boolean): Mask64 {
  const flip = (word: number, at: number): number => (on ? word | (1 << at) : word & ~(1 << at)) >>> 0
  return bit < 32 ? { hi: mask.hi, lo: flip(mask.lo, bit) } : { hi: flip(mask.hi, bit - 32), lo: mask.lo }
}

// ------------------------------------------------------------------------------------------------- looking

/** The record of the chunk that an inode is in, if there is one. */
function chunkOf(
  tree: ConstructorParameters<typeof Cursor<InobtRec, number>>[0],
  agino: number,
): Cursor<InobtRec, number> | undefined {
  const cursor = new Cursor(tree)
  if (!cursor.lookup(agino, 'le')) return undefined
  return agino < cursor.record().startino + INODES_PER_CHUNK ? cursor : undefined
}

/** Is the number that of an inode in use, as the inobt says? */
export function isAllocated(volume: Volume, ino: number, reader: BlockReader = volume): boolean {
  const { geometry } = volume
  if (!geometry.validIno(ino)) return false
  const agino = geometry.inoAgino(ino)
  const rec = chunkOf(openTree(volume, 'inobt', geometry.inoAgno(ino), reader), agino)?.record()
  if (!rec) return false
  const bit = agino - rec.startino
  return bitSet(presentMask(rec), bit) && !bitSet(rec.free, bit)
}

/** The numbers of all inodes in use, in order. */
export function* allocatedInodes(volume: Volume, agno: number, reader: BlockReader = volume): Generator<Ino> {
  for (const rec of records(openTree(volume, 'inobt', agno, reader))) {
    const present = presentMask(rec)
    for (let bit = 0; bit < INODES_PER_CHUNK; bit++) {
      if (bitSet(present, bit) && !bitSet(rec.free, bit)) yield volume.geometry.ino(agno, rec.startino + bit)
    }
  }
}

// ------------------------------------------------------------------------------------------------- counters

function addToSuperblock(tx: Transaction, icount: number, ifree: number): void {
  const view = tx.edit(tx.volume.superblock(tx))
  const set = (field: 'icount' | 'ifree', change: number): void => {
    const value = Superblock.fields[field].get(view, 0) + change
    if (value < 0) throw new XfsError('CORRUPT', `superblock: ${field} would be ${value}`, { type: 'sb', field })
    Superblock.fields[field].set(view, 0, value)
  }
  if (icount !== 0) set('icount', icount)
  if (ifree !== 0) set('ifree', ifree)
}

function addToAgi(tx: Transaction, agno: number, count: number, freecount: number): void {
  const view = tx.edit(tx.volume.agi(agno, tx))
  const set = (field: typeof agiCount, change: number): void => {
    const value = field.get(view, 0) + change
    if (value < 0)
      throw new XfsError('CORRUPT', `AG ${agno}: ${field.name} of the AGI would be ${value}`, {
        type: 'agi',
        agno,
        field: field.name,
      })
    field.set(view, 0, value)
  }
  set(agiCount, count)
  set(agiFreecount, freecount)
}

/** The most inodes that the filesystem may have (imaxpct); 0 for no limit. Source: xfs_ialloc_setup_geometry. */
export function maxInodes(volume: Volume): number {
  const { sb, chunkBlocks, inopblock } = volume.geometry
  if (sb.imax_pct === 0) return 0
  const blocks = Math.floor((sb.dblocks * sb.imax_pct) / 100)
  return Math.floor(blocks / chunkBlocks) * chunkBlocks * inopblock
}

// ------------------------------------------------------------------------------------------------- taking an inode

export interface NewInode {
  readonly uid?: number
  readonly gid?: number
  readonly projid?: number
  /** Links to begin with (default: 2 for a directory, else 1). */
  readonly nlink?: number
  /** What the parent hands down: flags, hints, project, and its group where it is setgid (default: yes). */
  readonly inherit?: boolean
  /** Of a special file. */
  readonly device?: { readonly major: number; readonly minor: number }
}

/**
 * A new inode, empty: a file without blocks, a directory or link without content yet, in extents form.
 *
 * @param parent  the directory that it will be in: near to it (directories: in groups by turns), and heir to its flags
 * @throws XfsError NOSPC where there are no inodes left
 */
export function allocInode(tx: Transaction, parent: number, mode: number, options: NewInode = {}): Inode {
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  const first = isDirectory ? groupForDirectory(tx) : tx.volume.geometry.inoAgno(parent)
  return initInode(tx, takeAnywhere(tx, parent, first), parent, mode, options)
}

/** Directories go to the groups by turns; the number of inodes in use stands in for the kernel's counter in memory. */
function groupForDirectory(tx: Transaction): number {
  const { view } = tx.volume.superblock(tx)
  const used = Superblock.fields.icount.get(view, 0) - Superblock.fields.ifree.get(view, 0)
  return Math.max(0, used) % tx.volume.geometry.agcount
}

/** Take a free inode of a group that has some. */
const takeInode = (tx: Transaction, agno: number, near: number | undefined): Ino =>
  takeInodes(tx, agno, near, 1)[0] as Ino

/** Take up to `count` inodes of one chunk of a group that has free ones. */
function takeInodes(tx: Transaction, agno: number, near: number | undefined, count: number): Ino[] {
  const { geometry, features } = tx.volume
  const inobt = changeTree(tx, 'inobt', agno)
  const finobt = features.has('finobt') ? changeTree(tx, 'finobt', agno) : undefined
  const found = finobt ? nearestFree(tx, agno, new Cursor(finobt), near) : searchFree(tx, agno, new Cursor(inobt), near)
  const taken: Ino[] = []
  let rec = found
  if (found) {
    const present = presentMask(found)
    let { free } = found
    for (let bit = 0; bit < INODES_PER_CHUNK && taken.length < count; bit++) {
      if (!bitSet(free, bit) || !bitSet(present, bit)) continue
      free = withBit(free, bit, false)
      taken.push(geometry.ino(agno, found.startino + bit))
    }
    rec = { ...found, free, freecount: found.freecount - taken.length }
  }
  if (!found || !rec || taken.length === 0) {
    throw new XfsError(
      'CORRUPT',
      `AG ${agno}: the AGI counts free inodes, but ${finobt ? 'finobt' : 'inobt'} has none`,
      { type: 'agi', agno },
    )
  }
  const all = new Cursor(inobt)
  if (!all.lookup(found.startino, 'eq') || !sameChunk(all.record(), found)) {
    throw new XfsError('CORRUPT', `AG ${agno}: inobt and finobt differ in the chunk at inode ${found.startino}`, {
      type: 'inobt',
      agno,
    })
  }
  all.update(rec)
  if (finobt) {
    const free = new Cursor(finobt)
    free.lookup(found.startino, 'eq')
    if (rec.freecount === 0) free.delete()
    else free.update(rec)
  }
  addToAgi(tx, agno, 0, -taken.length)
  addToSuperblock(tx, 0, -taken.length)
  return taken
}

/**
 * Inodes for `count` files of one directory, as near to it as can be. They are taken, but still have to be written: see populate.ts.
 * @throws XfsError NOSPC where there are not so many
 */
export const allocInodes = (tx: Transaction, parent: number, count: number): Ino[] =>
  takeMany(tx, parent, tx.volume.geometry.inoAgno(parent), count)

function takeMany(tx: Transaction, parent: number | undefined, first: number, count: number): Ino[] {
  const { volume } = tx
  const { agcount, inoAgno, inoAgino } = volume.geometry
  const taken: Ino[] = []
  for (let i = 0; i < agcount; i++) {
    const agno = (first + i) % agcount
    const near = parent !== undefined && agno === inoAgno(parent) ? inoAgino(parent) : undefined
    while (taken.length < count) {
      if (agiFreecount.get(volume.agi(agno, tx).view, 0) === 0 && !addChunk(tx, agno)) break
      taken.push(...takeInodes(tx, agno, near, count - taken.length))
    }
  }
  if (taken.length < count) throw new XfsError('NOSPC', 'no inodes left')
  return taken
}

/** Inodes for `count` new directories, in the group whose turn it is; still to be written. @throws XfsError NOSPC */
export const allocDirectoryInodes = (tx: Transaction, count: number): Ino[] =>
  takeMany(tx, undefined, groupForDirectory(tx), count)

/** Take an inode of the first group that has one, from `first` on. */
function takeAnywhere(tx: Transaction, parent: number, first: number): Ino {
  const { volume } = tx
  const { agcount, inoAgno, inoAgino } = volume.geometry
  for (let i = 0; i < agcount; i++) {
    const agno = (first + i) % agcount
    if (agiFreecount.get(volume.agi(agno, tx).view, 0) === 0 && !addChunk(tx, agno)) continue
    return takeInode(tx, agno, agno === inoAgno(parent) ? inoAgino(parent) : undefined)
  }
  throw new XfsError('NOSPC', 'no inodes left')
}

const sameChunk = (a: InobtRec, b: InobtRec): boolean =>
  a.freecount === b.freecount && a.holemask === b.holemask && a.free.hi === b.free.hi && a.free.lo === b.free.lo

/** Of a tree of chunks that all have free inodes, the nearest. */
function nearestFree(
  tx: Transaction,
  agno: number,
  cursor: Cursor<InobtRec, number>,
  near: number | undefined,
): InobtRec | undefined {
  if (near === undefined) {
    const newest = agiNewino.get(tx.volume.agi(agno, tx).view, 0)
    if (newest !== NULLAGINO && cursor.lookup(newest, 'eq')) return cursor.record()
    return cursor.lookup(0, 'ge') ? cursor.record() : undefined
  }
  const left = cursor.lookup(near, 'le') ? cursor.record() : undefined
  if (left && near < left.startino + INODES_PER_CHUNK) return left
  const right = cursor.lookup(near, 'ge') ? cursor.record() : undefined
  if (!left || !right) return left ?? right
  return near - (left.startino + INODES_PER_CHUNK - 1) <= right.startino - near ? left : right
}

/** Chunks looked at on either side of the wanted place, without a finobt. */
const SEARCH = 10

/** In the tree of all chunks: the parent's chunk and those around it, the newest, then any. */
function searchFree(
  tx: Transaction,
  agno: number,
  cursor: Cursor<InobtRec, number>,
  near: number | undefined,
): InobtRec | undefined {
  if (near !== undefined) {
    let more = cursor.lookup(near, 'le')
    for (let i = 0; more && i < SEARCH; i++, more = cursor.previous())
      if (cursor.record().freecount > 0) return cursor.record()
    more = cursor.lookup(near + 1, 'ge')
    for (let i = 0; more && i < SEARCH; i++, more = cursor.next())
      if (cursor.record().freecount > 0) return cursor.record()
  }
  const newest = agiNewino.get(tx.volume.agi(agno, tx).view, 0)
  if (newest !== NULLAGINO && cursor.lookup(newest, 'eq') && cursor.record().freecount > 0) return cursor.record()
  for (let more = cursor.lookup(0, 'ge'); more; more = cursor.next())
    if (cursor.record().freecount > 0) return cursor.record()
  return undefined
}

/** Fill in a newly taken inode. */
function initInode(tx: Transaction, ino: Ino, parent: number, mode: number, options: NewInode): Inode {
  const { volume } = tx
  const { features } = volume
  const inode = inodeAt(volume, ino, tx)
  if (inode.mode !== 0) throw inodeError(ino, 'the inobt says that it is free, but it is in use', 'mode')
  const heir = options.inherit === false ? undefined : openInode(volume, parent, tx)
  const type = mode & S_IFMT
  const isDirectory = type === FILE_TYPES.dir
  const setgid = heir !== undefined && (heir.mode & S_ISGID) !== 0
  const generation = inode.generation
  const view = tx.edit(inode.buf)
  const { at } = inode
  const { inodesize } = volume.geometry
  new Uint8Array(view.buffer, view.byteOffset + at, inodesize).fill(0)
  const now = encodeTime(volume.now(), features.has('bigtime'))
  const special = type !== FILE_TYPES.reg && type !== FILE_TYPES.dir && type !== FILE_TYPES.lnk
  const hints = heir && (type === FILE_TYPES.reg || isDirectory) ? inherited(heir, isDirectory) : NO_HINTS
  const projid = options.projid ?? (heir && (heir.flags & DIFLAGS.projinherit) !== 0 ? heir.projid : 0)
  encodeNewInode(view, at, volume.geometry, {
    mode: setgid && isDirectory ? mode | S_ISGID : mode,
    format: special ? FORK_FORMATS.dev : FORK_FORMATS.extents,
    uid: options.uid ?? 0,
    gid: options.gid ?? (setgid ? heir.gid : 0),
    nlink: options.nlink ?? (isDirectory ? 2 : 1),
    projid,
    atime: now,
    mtime: now,
    ctime: now,
    crtime: now,
    flags: hints.flags,
    extsize: hints.extsize,
    moreFlags2: hints.flags2,
    cowextsize: hints.cowextsize,
    gen: generation,
    inumber: ino,
  })
  if (special) {
    DevFork.fields.dev.set(view, at + volume.geometry.coresize, packDevice(options.device ?? { major: 0, minor: 0 }))
  }
  return inode
}

export interface Hints {
  readonly flags: number
  readonly flags2: number
  readonly extsize: number
  readonly cowextsize: number
}
export const NO_HINTS: Hints = { flags: 0, flags2: 0, extsize: 0, cowextsize: 0 }

/** Flags that any heir has from its directory. (Not nosymlinks: that sysctl is off by default.) */
const HANDED_DOWN = DIFLAGS.noatime | DIFLAGS.nodump | DIFLAGS.sync | DIFLAGS.nodefrag | DIFLAGS.filestream

/** What a new file or directory has from its parent. Source: xfs_inode_inherit_flags, xfs_inode_inherit_flags2. */
export function inherited(parent: Inode, isDirectory: boolean): Hints {
  const { flags, flags2 } = parent
  const { geometry } = parent.volume
  let heirs = flags & HANDED_DOWN
  let extsize = 0
  if ((flags & DIFLAGS.extszinherit) !== 0 && validHint(parent, parent.extsize)) {
    heirs |= isDirectory ? DIFLAGS.extszinherit : DIFLAGS.extsize
    extsize = parent.extsize
  }
  if (isDirectory) heirs |= flags & (DIFLAGS.projinherit | DIFLAGS.rtinherit)
  else if ((flags & DIFLAGS.rtinherit) !== 0 && geometry.sb.rblocks > 0) heirs |= DIFLAGS.realtime
  const cow = (flags2 & DIFLAGS2.cowextsize) !== 0 && validHint(parent, parent.cowextsize)
  return {
    flags: heirs,
    extsize,
    flags2: (flags2 & DIFLAGS2.dax) | (cow ? DIFLAGS2.cowextsize : 0),
    cowextsize: cow ? parent.cowextsize : 0,
  }
}

const validHint = (inode: Inode, blocks: number): boolean =>
  blocks > 0 && blocks < 2 ** 21 && blocks <= inode.volume.geometry.agblocks / 2

// ------------------------------------------------------------------------------------------------- chunks

/** Give a group more inodes. @returns false where it has no room for them (or there may be no more inodes at all) */
function addChunk(tx: Transaction, agno: number): boolean {
  const { volume } = tx
  const { geometry } = volume
  const { chunkBlocks, inopblock, sb } = geometry
  const limit = maxInodes(volume)
  const inodes = chunkBlocks * inopblock
  if (limit !== 0 && Superblock.fields.icount.get(volume.superblock(tx).view, 0) + inodes > limit) return false
  const agi = volume.agi(agno, tx).view
  const align = volume.features.has('align') ? Math.max(1, sb.inoalignmt) : 1
  const newest = agiNewino.get(agi, 0)
  const near = geometry.fsbno(agno, Agi.fields.root.get(agi, 0))
  const request: AllocRequest = {
    agno,
    onlyGroup: true,
    near,
    minLength: chunkBlocks,
    maxLength: chunkBlocks,
    minLeft: maxLevels(geometry, 'inobt'),
    owner: OWNERS.inodes,
  }
  const next = newest === NULLAGINO ? 0 : geometry.aginoAgbno(newest) + chunkBlocks
  const nextFits =
    next % align === 0 &&
    next > 0 &&
    geometry.validAgbno(agno, next) &&
    geometry.validAgbno(agno, next + chunkBlocks - 1)
  const whole =
    (nextFits ? tryAlloc(tx, { ...request, near: geometry.fsbno(agno, next), exact: true }) : undefined) ??
    (sb.unit > 0 && sb.unit % align === 0 ? tryAlloc(tx, { ...request, alignment: sb.unit }) : undefined) ??
    tryAlloc(tx, { ...request, alignment: align })
  if (whole !== undefined) {
    initChunkBlocks(tx, agno, whole, chunkBlocks)
    for (let done = 0; done < inodes; done += INODES_PER_CHUNK) {
      const startino = geometry.agbnoToAgino(whole) + done
      insertChunk(tx, agno, {
        startino,
        holemask: 0,
        count: INODES_PER_CHUNK,
        freecount: INODES_PER_CHUNK,
        free: ALL_FREE,
      })
    }
    countNew(tx, agno, inodes, geometry.agbnoToAgino(whole))
    return true
  }
  return addSparseChunk(tx, agno, request)
}

function addSparseChunk(tx: Transaction, agno: number, request: AllocRequest): boolean {
  const { geometry, features } = tx.volume
  const { chunkBlocks, inopblock, sb } = geometry
  const length = sb.spino_align
  if (!features.has('sparse') || length < 1 || length >= chunkBlocks) return false
  const align = Math.max(1, sb.inoalignmt)
  // The record of the whole chunk must lie inside the group.
  const maxAgbno = Math.floor(geometry.agLength(agno) / align) * align - chunkBlocks + (chunkBlocks - length)
  if (maxAgbno < align) return false
  const agbno = tryAlloc(tx, {
    ...request,
    minLength: length,
    maxLength: length,
    alignment: length,
    minAgbno: align,
    maxAgbno,
  })
  if (agbno === undefined) return false
  initChunkBlocks(tx, agno, agbno, length)
  const chunk = Math.floor(agbno / align) * align
  // Where chunks are aligned to more than their size, several fit between two aligned blocks.
  const start = chunk + Math.floor((agbno - chunk) / chunkBlocks) * chunkBlocks
  const first = (agbno - start) * inopblock
  const inodes = length * inopblock
  const present = ((2 ** (inodes / INODES_PER_HOLE) - 1) << (first / INODES_PER_HOLE)) & 0xffff
  const rec: InobtRec = {
    startino: geometry.agbnoToAgino(start),
    holemask: ~present & 0xffff,
    count: inodes,
    freecount: inodes,
    free: ALL_FREE,
  }
  insertSparse(tx, agno, rec)
  countNew(tx, agno, inodes, rec.startino)
  return true
}

function countNew(tx: Transaction, agno: number, inodes: number, newino: number): void {
  addToAgi(tx, agno, inodes, inodes)
  agiNewino.set(tx.edit(tx.volume.agi(agno, tx)), 0, newino)
  addToSuperblock(tx, inodes, inodes)
}

/** An allocation that may fail without harm. */
function tryAlloc(tx: Transaction, request: AllocRequest): number | undefined {
  try {
    return allocExtent(tx, request).agbno
  } catch (error) {
    if (error instanceof XfsError && error.code === 'NOSPC') return undefined
    throw error
  }
}

/** The record as it is stored: without the sparse feature the count is not. */
const stored = (tx: Transaction, rec: InobtRec): InobtRec =>
  tx.volume.features.has('sparse') ? rec : { ...rec, count: 0, holemask: 0 }

function insertChunk(tx: Transaction, agno: number, rec: InobtRec): void {
  new Cursor(changeTree(tx, 'inobt', agno)).insert(stored(tx, rec))
  if (tx.volume.features.has('finobt')) new Cursor(changeTree(tx, 'finobt', agno)).insert(stored(tx, rec))
}

/** A part of a chunk, of which other parts may be there already. */
function insertSparse(tx: Transaction, agno: number, rec: InobtRec): void {
  const all = new Cursor(changeTree(tx, 'inobt', agno))
  let merged = rec
  if (all.lookup(rec.startino, 'eq')) {
    const old = all.record()
    if ((~old.holemask & ~rec.holemask & 0xffff) !== 0) {
      throw new XfsError('CORRUPT', `AG ${agno}: new inodes at ${rec.startino} are in the inobt already`, {
        type: 'inobt',
        agno,
      })
    }
    merged = {
      startino: rec.startino,
      holemask: old.holemask & rec.holemask,
      count: old.count + rec.count,
      freecount: old.freecount + rec.freecount,
      free: { hi: (old.free.hi & rec.free.hi) >>> 0, lo: (old.free.lo & rec.free.lo) >>> 0 },
    }
    all.update(merged)
  } else all.insert(rec)
  if (!tx.volume.features.has('finobt')) return
  const free = new Cursor(changeTree(tx, 'finobt', agno))
  if (free.lookup(rec.startino, 'eq')) free.update(merged)
  else free.insert(merged)
}

/** Free inodes on disk have a magic number, their own number and a generation to begin with. */
function initChunkBlocks(tx: Transaction, agno: number, agbno: number, length: number): void {
  const { volume } = tx
  const { geometry } = volume
  const blank = new Uint8Array(geometry.inodesize)
  const model = new DataView(blank.buffer)
  encodeFreeInode(model, 0, geometry, 0, chunkGeneration(volume, agno, agbno))
  for (let i = 0; i < length; i++) {
    const { view, bytes } = tx.create(blockTypes.inodes, geometry.daddr(agno, agbno + i), geometry.blocksize)
    const first = geometry.agbnoToAgino(agbno + i)
    for (let index = 0; index < geometry.inopblock; index++) {
      const at = index * geometry.inodesize
      bytes.set(blank, at)
      fields.inumber.set(view, at, geometry.ino(agno, first + index))
    }
  }
}

/** Not to be foreseen as long as the clock runs; always the same where it stands still. */
function chunkGeneration(volume: Volume, agno: number, agbno: number): number {
  const { seconds, nanoseconds } = volume.now()
  return crc32c(new TextEncoder().encode(`${volume.geometry.metaUuid} ${agno} ${agbno} ${seconds} ${nanoseconds}`))
}

// ------------------------------------------------------------------------------------------------- giving an inode back

/**
 * Give back an inode that has no links, no blocks and is on no unlinked list any more. The handle is not to be used again.
 * @throws XfsError CORRUPT
 */
export function freeInode(tx: Transaction, inode: Inode): void {
  const { volume, ino, agno, agino } = inode
  if (inode.nblocks !== 0) throw inodeError(ino, `is about to be freed, but counts ${inode.nblocks} blocks`, 'nblocks')
  clearInode(tx, inode)
  const inobt = changeTree(tx, 'inobt', agno)
  const cursor = chunkOf(inobt, agino)
  if (!cursor) throw inodeError(ino, 'the inobt has no record for it')
  const old = cursor.record()
  const bit = agino - old.startino
  if (bitSet(old.free, bit) || !bitSet(presentMask(old), bit))
    throw inodeError(ino, 'the inobt says that it is free already')
  const rec = { ...old, free: withBit(old.free, bit, true), freecount: old.freecount + 1 }
  const inodes = volume.features.has('sparse') ? rec.count : INODES_PER_CHUNK
  const finobt = volume.features.has('finobt') ? changeTree(tx, 'finobt', agno) : undefined
  // Blocks that hold more than one chunk stay inode blocks.
  if (rec.freecount === inodes && volume.geometry.inopblock <= INODES_PER_CHUNK) {
    cursor.delete()
    if (finobt) {
      const free = new Cursor(finobt)
      if (free.lookup(rec.startino, 'eq')) free.delete()
    }
    addToAgi(tx, agno, -inodes, -(inodes - 1))
    addToSuperblock(tx, -inodes, -(inodes - 1))
    freeChunkBlocks(tx, agno, rec)
    return
  }
  cursor.update(rec)
  if (finobt) {
    const free = new Cursor(finobt)
    if (free.lookup(rec.startino, 'eq')) free.update(rec)
    else free.insert(rec)
  }
  addToAgi(tx, agno, 0, 1)
  addToSuperblock(tx, 0, 1)
}

/** A free inode keeps number and generation (one higher). */
function clearInode(tx: Transaction, inode: Inode): void {
  const { features } = tx.volume
  const view = tx.edit(inode.buf)
  const { at } = inode
  const start = at + inode.volume.geometry.coresize
  new Uint8Array(view.buffer, view.byteOffset + start, literalSize(inode.volume)).fill(0)
  Dinode.encode(view, at, {
    mode: 0,
    format: FORK_FORMATS.extents,
    aformat: FORK_FORMATS.extents,
    nlink: 0,
    size: 0,
    nextents: 0,
    anextents: 0,
    big_nextents: 0,
    extsize: 0,
    cowextsize: 0,
    forkoff: 0,
    flags: 0,
    // The times keep their form.
    flags2: { hi: 0, lo: (inode.flags2 & DIFLAGS2.bigtime) | (features.has('nrext64') ? DIFLAGS2.nrext64 : 0) },
    gen: (inode.generation + 1) >>> 0,
  })
}

/** The blocks of a chunk become free: all, or, of a sparse one, each run. */
function freeChunkBlocks(tx: Transaction, agno: number, rec: InobtRec): void {
  const { geometry } = tx.volume
  const first = geometry.aginoAgbno(rec.startino)
  const present = presentMask(rec)
  let from = -1
  for (let block = 0; block <= geometry.chunkBlocks; block++) {
    const here = block < geometry.chunkBlocks && bitSet(present, block * geometry.inopblock)
    if (here && from < 0) from = block
    if (here) tx.invalidate(geometry.daddr(agno, first + block))
    if (here || from < 0) continue
    tx.defer(extentFree, { fsbno: geometry.fsbno(agno, first + from), blockcount: block - from, owner: OWNERS.inodes })
    from = -1
  }
}

// ------------------------------------------------------------------------------------------------- unlinked inodes

/** Put an inode that has lost its last link on its group's list, until its blocks are gone. */
export function addUnlinked(tx: Transaction, inode: Inode): void {
  const { agno, agino, at } = inode
  const bucket = bucketAt(agino)
  const agi = tx.edit(tx.volume.agi(agno, tx))
  const head = agi.getUint32(bucket)
  if (head === agino) throw inodeError(inode.ino, 'it is on the list of unlinked inodes already', 'next_unlinked')
  fields.next_unlinked.set(tx.edit(inode.buf), at, head)
  agi.setUint32(bucket, agino)
}

/** Take it off the list. @throws XfsError CORRUPT where it is not on it */
export function removeUnlinked(tx: Transaction, inode: Inode): void {
  const { volume, agno, agino } = inode
  const bucket = bucketAt(agino)
  const agi = volume.agi(agno, tx)
  const next = fields.next_unlinked.get(inode.view, inode.at)
  let previous: Inode | undefined
  const seen = new Set<number>()
  for (let at = agi.view.getUint32(bucket); at !== agino; ) {
    if (at === NULLAGINO || seen.has(at))
      throw inodeError(inode.ino, 'it is not on the list of unlinked inodes', 'next_unlinked')
    seen.add(at)
    previous = inodeAt(volume, volume.geometry.ino(agno, at), tx)
    at = fields.next_unlinked.get(previous.view, previous.at)
  }
  if (previous) fields.next_unlinked.set(tx.edit(previous.buf), previous.at, next)
  else tx.edit(agi).setUint32(bucket, next)
  fields.next_unlinked.set(tx.edit(inode.buf), inode.at, NULLAGINO)
}

/** The unlinked inodes of a group. */
export function* unlinkedInodes(volume: Volume, agno: number, reader: BlockReader = volume): Generator<Ino> {
  const heads = agiUnlinked.get(volume.agi(agno, reader).view, 0)
  const seen = new Set<number>()
  for (const head of heads) {
    for (let agino = head; agino !== NULLAGINO; ) {
      const ino = volume.geometry.ino(agno, agino)
      if (seen.has(agino)) throw inodeError(ino, 'it is on the list of unlinked inodes twice', 'next_unlinked')
      seen.add(agino)
      yield ino
      const inode = inodeAt(volume, ino, reader)
      agino = fields.next_unlinked.get(inode.view, inode.at)
    }
  }
}

/** Where the head of an inode's list is in the AGI. */
const bucketAt = (agino: number): number => agiUnlinked.offset + (agino % (agiUnlinked.count ?? 64)) * 4
