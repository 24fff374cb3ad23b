import { createHash } from 'node:crypto'
import { attributes } from '../../src/attr/attr.ts'
import { readFile } from '../../src/data/data.ts'
import type { Device } from '../../src/device/device.ts'
import type { Inode } from '../../src/inode/inode.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { readSymlink } from '../../src/symlink.ts'
import { Volume } from '../../src/volume.ts'

/** Every file by its path: inode number, permissions, owner, links, size, times, content and attributes. */
export function contentsOf(device: Device): Map<string, string> {
  const volume = Volume.open(device, { needsRepair: true })
  const files = new Map<string, string>()
  for (const { path, inode } of walkTree(rootDirectory(volume)))
    files.set(`/${Buffer.from(path).toString('latin1')}`, stateOf(inode))
  return files
}

function stateOf(inode: Inode): string {
  const { ino, mode, uid, gid, nlink, size, mtime, crtime } = inode
  const hash = createHash('sha256')
  if (inode.isRegular) hash.update(readFile(inode))
  else if (inode.isSymlink) hash.update(readSymlink(inode))
  const attrs = Array.from(attributes(inode), ({ space, name, read }) => {
    return `${space} ${Buffer.from(name).toString('latin1')}=${Buffer.from(read()).toString('hex')}`
  })
  const bytes = inode.isDirectory ? '' : String(size)
  const times = [mtime, crtime].map((time) => `${time?.seconds}.${time?.nanoseconds}`)
  const content = createHash('sha256').update(attrs.sort().join('\n')).digest('hex')
  return [ino, mode.toString(8), uid, gid, nlink, bytes, ...times, hash.digest('hex'), content].join(' ')
}

/** The paths whose state differs. */
export const changedPaths = (before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] =>
  [...new Set([...before.keys(), ...after.keys()])].filter((path) => before.get(path) !== after.get(path)).sort()
