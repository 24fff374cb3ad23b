import { presentMask } from '../btree/trees/inobt.ts'
import {
  DevFork,
  DIFLAGS,
  DIFLAGS2,
  Dinode,
  FILE_TYPES,
  FORK_FORMATS,
  INODES_PER_CHUNK,
  S_IFMT,
  S_ISGID,
} from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { encodeNewInode } from '../format/newinode.ts'
import { bytesAt } from '../format/struct.ts'
import { encodeTime } from '../format/time.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { addToAgi, addToSuperblock, bitSet, chunkOf, updateFinobt, withBit } from './chunks.ts'
import { inherited, NO_HINTS } from './inherit.ts'
import { type Inode, inodeAt, inodeError, literalSize, openInode, packDevice } from './inode.ts'
import { freeChunkBlocks } from './newchunk.ts'
import { agForDirectory, takeInodes } from './takeinode.ts'

/**
 * Allocating and freeing one inode: its number (takeinode.ts, chunks.ts) and its content. A chunk
 * is freed with its last inode (newchunk.ts).
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c, xfs_inode_util.c.
 */

export interface NewInode {
  readonly uid?: number
  readonly gid?: number
  readonly projid?: number
  /** Initial link count (default: 2 for a directory, else 1). */
  readonly nlink?: number
  /**
   * Inherit flags, hints and project from the parent, and its group if it is setgid (default:
   * true).
   */
  readonly inherit?: boolean
  /** Special files only. */
  readonly device?: { readonly major: number; readonly minor: number }
}

/**
 * A new empty inode in extents format: a file without blocks, or a directory or link without
 * content.
 *
 * @param parent its directory: the inode is allocated near to it (directories: in the AGs in turn),
 *   and inherits its flags
 * @throws XfsError NOSPC if there are no free inodes
 */
export function allocInode(tx: Transaction, parent: number, mode: number, options: NewInode = {}): Inode {
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  const first = isDirectory ? agForDirectory(tx) : tx.volume.geometry.inoAgno(parent)
  const [ino] = takeInodes(tx, parent, first, 1)
  return initInode(tx, ino as Ino, parent, mode, options)
}

/**
 * Allocate inodes for `count` files of one directory, as near to it as possible. The caller must
 * write them: see populate.ts.
 * @throws XfsError NOSPC if there are fewer
 */
export const allocInodes = (tx: Transaction, parent: number, count: number): Ino[] =>
  takeInodes(tx, parent, tx.volume.geometry.inoAgno(parent), count)

/**
 * Allocate inodes for `count` new directories, in the next AG in turn. The caller must write them.
 * @throws XfsError NOSPC
 */
export const allocDirectoryInodes = (tx: Transaction, count: number): Ino[] =>
  takeInodes(tx, undefined, agForDirectory(tx), count)

/** Fill in a newly allocated inode. */
function initInode(tx: Transaction, ino: Ino, parent: number, mode: number, options: NewInode): Inode {
  const { volume } = tx
  const { features } = volume
  const inode = inodeAt(volume, ino, tx)
  if (inode.mode !== 0) throw inodeError(ino, 'free in the inobt, but in use', 'mode')
  const heir = options.inherit === false ? undefined : openInode(volume, parent, tx)
  const type = mode & S_IFMT
  const isDirectory = type === FILE_TYPES.dir
  const setgid = heir !== undefined && (heir.mode & S_ISGID) !== 0
  const generation = inode.generation
  const view = tx.edit(inode.buf)
  const { at } = inode
  const { inodesize } = volume.geometry
  bytesAt(view, at, inodesize).fill(0)
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

/**
 * Free an inode that has no links and no blocks, and is not on an unlinked list. The handle must
 * not be used again.
 * @throws XfsError CORRUPT
 */
export function freeInode(tx: Transaction, inode: Inode): void {
  const { volume, ino, agno, agino } = inode
  if (inode.nblocks !== 0) throw inodeError(ino, `cannot be freed: nblocks is ${inode.nblocks}`, 'nblocks')
  clearInode(tx, inode)
  const inobt = changeTree(tx, 'inobt', agno)
  const cursor = chunkOf(inobt, agino)
  if (!cursor) throw inodeError(ino, 'no inobt record')
  const old = cursor.record()
  const bit = agino - old.startino
  if (bitSet(old.free, bit) || !bitSet(presentMask(old), bit)) throw inodeError(ino, 'already free in the inobt')
  const rec = { ...old, free: withBit(old.free, bit, true), freecount: old.freecount + 1 }
  const inodes = volume.features.has('sparse') ? rec.count : INODES_PER_CHUNK
  // Blocks that hold more than one chunk stay inode blocks.
  if (rec.freecount === inodes && volume.geometry.inopblock <= INODES_PER_CHUNK) {
    cursor.delete()
    updateFinobt(tx, agno, rec.startino, undefined)
    addToAgi(tx, agno, -inodes, -(inodes - 1))
    addToSuperblock(tx, -inodes, -(inodes - 1))
    freeChunkBlocks(tx, agno, rec)
    return
  }
  cursor.update(rec)
  updateFinobt(tx, agno, rec.startino, rec)
  addToAgi(tx, agno, 0, 1)
  addToSuperblock(tx, 0, 1)
}

/** A free inode keeps its number, and its generation plus one. */
function clearInode(tx: Transaction, inode: Inode): void {
  const { features } = tx.volume
  const view = tx.edit(inode.buf)
  const { at } = inode
  const start = at + inode.volume.geometry.coresize
  bytesAt(view, start, literalSize(inode.volume)).fill(0)
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
    // The timestamps keep their format.
    flags2: { hi: 0, lo: (inode.flags2 & DIFLAGS2.bigtime) | (features.has('nrext64') ? DIFLAGS2.nrext64 : 0) },
    gen: (inode.generation + 1) >>> 0,
  })
}
