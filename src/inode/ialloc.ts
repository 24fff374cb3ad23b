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
 * whose last inode is freed is given back (newchunk.ts).
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c, xfs_inode_util.c.
 */

export interface NewInode {
  readonly uid?: number
  readonly gid?: number
  readonly projid?: number
  /** Links to begin with (default: 2 for a directory, else 1). */
  readonly nlink?: number
  /**
   * What the parent hands down: flags, hints, project, and its group where it is setgid (default:
   * yes).
   */
  readonly inherit?: boolean
  /** Of a special file. */
  readonly device?: { readonly major: number; readonly minor: number }
}

/**
 * A new inode, empty: a file without blocks, a directory or link without content yet, in extents
 * form.
 *
 * @param parent the directory that it will be in: near to it (directories: in the AGs in turn), and
 *   heir to its flags
 * @throws XfsError NOSPC where there are no inodes left
 */
export function allocInode(tx: Transaction, parent: number, mode: number, options: NewInode = {}): Inode {
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  const first = isDirectory ? agForDirectory(tx) : tx.volume.geometry.inoAgno(parent)
  const [ino] = takeInodes(tx, parent, first, 1)
  return initInode(tx, ino as Ino, parent, mode, options)
}

/**
 * Inodes for `count` files of one directory, as near to it as can be. They are taken, but still
 * have to be written: see populate.ts.
 * @throws XfsError NOSPC where there are fewer
 */
export const allocInodes = (tx: Transaction, parent: number, count: number): Ino[] =>
  takeInodes(tx, parent, tx.volume.geometry.inoAgno(parent), count)

/**
 * Inodes for `count` new directories, in the AG whose turn it is; still to be written. @throws
 * XfsError NOSPC
 */
export const allocDirectoryInodes = (tx: Transaction, count: number): Ino[] =>
  takeInodes(tx, undefined, agForDirectory(tx), count)

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
 * Give back an inode that has no links, no blocks and is on no unlinked list any more. The handle
 * is not to be used again.
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

/** A free inode keeps number and generation (one higher). */
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
    // The times keep their form.
    flags2: { hi: 0, lo: (inode.flags2 & DIFLAGS2.bigtime) | (features.has('nrext64') ? DIFLAGS2.nrext64 : 0) },
    gen: (inode.generation + 1) >>> 0,
  })
}
