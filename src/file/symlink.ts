import { XfsError } from '../errors.ts'
import { FORK_FORMATS } from '../format/dinode.ts'
import { SYMLINK_MAXLEN, SymlinkHdr, symlinkPart } from '../format/symlink.ts'
import { blockTypes } from '../format/verify.ts'
import type { BlockReader } from '../volume.ts'
import { extents } from './bmap.ts'
import { forkBytes, forkFormat, type Inode, inodeError } from './inode.ts'

/**
 * Symbolic links: the target is in the inode, or where it does not fit in blocks of the data fork: one buffer an extent, each with
 * a header (V4: without).
 */

/** The target of a symbolic link, as bytes. @throws XfsError INVAL (not a link), CORRUPT */
export function readSymlink(inode: Inode, reader: BlockReader = inode.volume): Uint8Array {
  if (!inode.isSymlink) throw new XfsError('INVAL', `inode ${inode.ino} is not a symbolic link`, { ino: inode.ino })
  const { size } = inode
  if (size <= 0 || size >= SYMLINK_MAXLEN) throw inodeError(inode.ino, `a symbolic link of ${size} bytes`, 'size')
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
      if (offset !== have) throw inodeError(inode.ino, `the target goes on at ${offset}, expected ${have}`)
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
