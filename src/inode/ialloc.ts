import { presentMask } from '../btree/trees/inobt.ts'
import {
  DevFork,
  DIFLAGS2,
  Dinode,
  FILE_TYPES,
  FORK_FORMATS,
  INODES_PER_CHUNK,
  isSpecial,
  S_IFMT,
  S_ISGID,
} from '../format/dinode.ts'
import { bytesAt } from '../format/fields.ts'
import type { Ino } from '../format/geometry.ts'
import { newFlags2 } from '../format/newinode.ts'
import { encodeTime, type Timestamp } from '../format/time.ts'
import { changeTree } from '../space/trees.ts'
import type { Transaction } from '../tx/transaction.ts'
import { addToAgi, addToSuperblock, bitSet, chunkOf, updateFinobt, withBit } from './chunks.ts'
import { type Heritage, inheritedHints } from './inherit.ts'
import { type Inode, inodeAt, inodeError, literalSize, packDevice } from './inode.ts'
import { freeChunkBlocks } from './newchunk.ts'
import { agForDirectory, takeInodes } from './takeinode.ts'

/**
 * Allocating and freeing one inode: its number (takeinode.ts, chunks.ts) and its content. A chunk
 * is freed with its last inode (newchunk.ts).
 *
 * Source: fs/xfs/libxfs/xfs_ialloc.c, xfs_inode_util.c.
 */

const fields = Dinode.fields

/** What a new inode is to have; absent values are inherited, or the default. */
export interface NewInode {
  /** Type and permissions. */
  readonly mode: number
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  /** Initial link count (default: 2 for a directory, else 1). */
  readonly nlink?: number | undefined
  /** Default: the current time. */
  readonly atime?: Timestamp | undefined
  readonly mtime?: Timestamp | undefined
  /** Device nodes only. */
  readonly device?: { readonly major: number; readonly minor: number } | undefined
}

/**
 * Allocate inodes for `count` files of one directory, as near to it as possible. The caller must
 * write them: see `initInode`.
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

/**
 * Write a newly allocated inode with empty forks: a file, directory or link without content, in
 * extents format; a special file with its device number.
 * @throws XfsError CORRUPT (it is in use), INVAL (no such device)
 */
export function initInode(tx: Transaction, ino: Ino, file: NewInode, from: Heritage): Inode {
  const { volume } = tx
  const { features, geometry } = volume
  const inode = inodeAt(volume, ino, tx)
  if (inode.mode !== 0) throw inodeError(ino, 'free in the inobt, but in use', 'mode')
  const { at, generation, buf } = inode
  const { mode, uid = 0, gid = from.gid ?? 0, nlink, atime, mtime } = file
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  const { flags, flags2, extsize, cowextsize } = inheritedHints(from, mode)
  const view = tx.edit(buf)
  buf.bytes.set(from.model, at)
  fields.mode.set(view, at, isDirectory && from.gid !== undefined ? mode | S_ISGID : mode)
  fields.uid.set(view, at, uid)
  fields.gid.set(view, at, gid)
  fields.nlink.set(view, at, nlink ?? (isDirectory ? 2 : 1))
  if (atime) fields.atime.set(view, at, encodeTime(atime, features.has('bigtime')))
  if (mtime) fields.mtime.set(view, at, encodeTime(mtime, features.has('bigtime')))
  fields.flags.set(view, at, flags)
  fields.flags2.set(view, at, { hi: 0, lo: (newFlags2(geometry) | flags2) >>> 0 })
  fields.extsize.set(view, at, extsize)
  fields.cowextsize.set(view, at, cowextsize)
  fields.gen.set(view, at, generation)
  fields.inumber.set(view, at, ino)
  if (isSpecial(mode)) {
    fields.format.set(view, at, FORK_FORMATS.dev)
    DevFork.fields.dev.set(view, at + geometry.coresize, packDevice(file.device ?? { major: 0, minor: 0 }))
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
