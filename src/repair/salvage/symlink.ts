import type { Inodes } from '../../check/observe/inodetable.ts'
import type { Device } from '../../device/device.ts'
import { Dinode, FORK_FORMATS } from '../../format/dinode.ts'
import { BASIC_BLOCK } from '../../format/geometry.ts'
import { SYMLINK_MAGIC, SYMLINK_MAXLEN, SymlinkHdr } from '../../format/symlink.ts'
import { readInodeBytes } from '../rawforks.ts'
import { forkMaps } from './maps.ts'

/**
 * The target of a symbolic link whose blocks have a wrong header: as many bytes as the inode says.
 * @returns undefined if a block is not recognized, or its bytes cannot be a target
 */
export function salvageTarget(device: Device, inodes: Inodes, slot: number): Uint8Array | undefined {
  const { geometry } = inodes
  const ino = inodes.ino(slot)
  const size = inodes.size.get(slot)
  if (Dinode.fields.format.get(readInodeBytes(device, geometry, ino), 0) === FORK_FORMATS.local) return undefined
  if (size <= 0 || size >= SYMLINK_MAXLEN) return undefined
  const target = new Uint8Array(size)
  let have = 0
  for (const { fsbno, count } of forkMaps(inodes, slot, 'data')) {
    if (have === size) break
    const bytes = new Uint8Array(Math.min(count, 2 * SYMLINK_MAXLEN) * geometry.blocksize)
    const daddr = geometry.fsbToDaddr(fsbno)
    device.read(bytes, daddr * BASIC_BLOCK)
    const { magic, owner, bno } = SymlinkHdr.decode(new DataView(bytes.buffer), 0)
    if ([magic === SYMLINK_MAGIC, owner === ino, bno === daddr].filter((right) => right).length < 2) return undefined
    const part = bytes.subarray(SymlinkHdr.size, SymlinkHdr.size + size - have)
    target.set(part, have)
    have += part.length
  }
  return have < size || target.includes(0) ? undefined : target
}
