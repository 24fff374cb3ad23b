import { metaUuid } from './da/dablock.ts'
import { XfsError } from './errors.ts'
import { MAX_FILE_BLOCKS } from './format/btrecs.ts'
import { FORK_FORMATS } from './format/dinode.ts'
import { SYMLINK_MAGIC, SYMLINK_MAXLEN, SymlinkHdr, symlinkBlocks, symlinkPart } from './format/symlink.ts'
import { blockTypes } from './format/verify/blocktypes.ts'
import {
  editInode,
  forkBytes,
  forkFormat,
  forkSize,
  type Inode,
  inodeError,
  setExtentCount,
  setForkFormat,
  updateInode,
} from './inode/inode.ts'
import { allocateRange, unmapRange } from './mapping/bmap.ts'
import { extents } from './mapping/extents.ts'
import type { Transaction } from './tx/transaction.ts'
import type { BlockReader } from './volume.ts'

/**
 * Symbolic links: the target is in the inode, or, if it does not fit, in blocks of the data fork:
 * one buffer per extent, each with a header (V4: without).
 */

/** The target of a symbolic link, as bytes. @throws XfsError INVAL (not a link), CORRUPT */
export function readSymlink(inode: Inode, reader: BlockReader = inode.volume): Uint8Array {
  if (!inode.isSymlink) throw new XfsError('INVAL', `inode ${inode.ino} is not a symbolic link`, { ino: inode.ino })
  const size = inode.roundedSize
  if (size <= 0 || size >= SYMLINK_MAXLEN) throw inodeError(inode.ino, `symbolic link of ${size} bytes`, 'size')
  if (forkFormat(inode, 'data') === FORK_FORMATS.local) return forkBytes(inode, 'data').slice(0, size)
  return readRemote(inode, size, reader)
}

function readRemote(inode: Inode, size: number, reader: BlockReader): Uint8Array {
  const { geometry, features } = inode.volume
  const target = new Uint8Array(size)
  let have = 0
  for (const rec of extents(inode, 'data', 0, reader)) {
    if (have === size) break
    const length = Math.min(rec.blockcount, Math.ceil((2 * SYMLINK_MAXLEN) / geometry.blocksize)) * geometry.blocksize
    const daddr = geometry.fsbToDaddr(rec.startblock)
    let part: Uint8Array
    if (features.version === 5) {
      const { view } = reader.read(blockTypes.symlink, daddr, length)
      const { owner, offset } = SymlinkHdr.decode(view, 0)
      if (owner !== inode.ino) throw inodeError(inode.ino, `the target is in a block of inode ${owner}`)
      if (offset !== have) throw inodeError(inode.ino, `the target continues at ${offset}, expected ${have}`)
      part = symlinkPart(view)
    } else {
      part = reader.read(blockTypes.data, daddr, length).bytes
    }
    part = part.subarray(0, size - have)
    target.set(part, have)
    have += part.length
    if (part.length === 0) break
  }
  if (have !== size) throw inodeError(inode.ino, `the target has ${have} bytes, expected ${size}`)
  return target
}

// ---------------------------------------------------------------------------------------- changing

/** Check that a symbolic link can have this target. @throws XfsError INVAL, NAMETOOLONG */
export function checkTarget(target: Uint8Array): void {
  if (target.length === 0 || target.includes(0)) throw new XfsError('INVAL', 'invalid target for a symbolic link')
  if (target.length >= SYMLINK_MAXLEN)
    throw new XfsError('NAMETOOLONG', `target of ${target.length} bytes exceeds maximum ${SYMLINK_MAXLEN - 1}`)
}

/** Write the target of a link. @throws XfsError INVAL, NAMETOOLONG, NOSPC */
export function writeSymlink(tx: Transaction, inode: Inode, target: Uint8Array): void {
  checkTarget(target)
  updateInode(tx, inode, { size: target.length })
  if (target.length > forkSize(inode, 'data')) {
    writeRemote(tx, inode, target)
    return
  }
  setForkFormat(tx, inode, 'data', FORK_FORMATS.local)
  const fork = forkBytes(inode, 'data')
  fork.fill(0)
  fork.set(target)
}

/** Move a target from the inode to a block. @throws XfsError NOSPC */
export function linkToRemote(tx: Transaction, inode: Inode): void {
  const target = readSymlink(inode, tx)
  editInode(tx, inode)
  forkBytes(inode, 'data').fill(0)
  setForkFormat(tx, inode, 'data', FORK_FORMATS.extents)
  setExtentCount(tx, inode, 'data', 0)
  writeRemote(tx, inode, target)
}

/**
 * Move a target from a block into the inode if it fits there again: kernels before 6.10 do not
 * accept anything else.
 */
export function linkToLocal(tx: Transaction, inode: Inode): void {
  if (forkFormat(inode, 'data') === FORK_FORMATS.local || inode.roundedSize > forkSize(inode, 'data')) return
  const target = readSymlink(inode, tx)
  unmapRange(tx, inode, 'data', 0, MAX_FILE_BLOCKS)
  writeSymlink(tx, inode, target)
}

function writeRemote(tx: Transaction, inode: Inode, target: Uint8Array): void {
  const { geometry } = inode.volume
  const uuid = metaUuid(inode)
  let have = 0
  allocateRange(tx, inode, 'data', 0, symlinkBlocks(target.length, geometry.blocksize))
  for (const rec of extents(inode, 'data', 0, tx)) {
    const buf = tx.create(blockTypes.symlink, geometry.fsbToDaddr(rec.startblock), rec.blockcount * geometry.blocksize)
    const part = target.subarray(have, have + buf.length - SymlinkHdr.size)
    SymlinkHdr.encode(buf.view, 0, {
      magic: SYMLINK_MAGIC,
      offset: have,
      bytes: part.length,
      uuid,
      owner: inode.ino,
      bno: buf.daddr,
    })
    buf.bytes.set(part, SymlinkHdr.size)
    have += part.length
  }
}
