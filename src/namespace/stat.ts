import { flagLetters } from '../attr/setattr.ts'
import { DIFLAGS2, FILE_TYPES } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import { deviceNumber, extentCount, type Inode } from '../inode/inode.ts'
import { readSymlink } from '../symlink.ts'
import type { Bytes } from '../util/bytes.ts'
import type { BlockReader } from '../volume.ts'

/**
 * The information that stat(2) and statx(2) return of a file, and that is specific to XFS. Sizes
 * are in bytes, `blocks` in filesystem blocks.
 */
export interface Stat {
  readonly ino: number
  readonly type: FileTypeName
  /** Permissions with set-id and sticky bits, without the type. */
  readonly permissions: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly projid: number
  readonly size: Bytes
  readonly blocks: number
  readonly extents: number
  readonly attrExtents: number
  readonly atime: Timestamp
  readonly mtime: Timestamp
  readonly ctime: Timestamp
  readonly crtime: Timestamp | undefined
  readonly flags: readonly string[]
  readonly extsize: number
  readonly cowextsize: number
  readonly generation: number
  readonly changeCount: number
  readonly device: { readonly major: number; readonly minor: number } | undefined
  /** The target of a symbolic link. */
  readonly target: Uint8Array | undefined
}

export type FileTypeName = keyof typeof typeNames
const typeNames = {
  fifo: FILE_TYPES.fifo, 'character device': FILE_TYPES.chr, directory: FILE_TYPES.dir, 'block device': FILE_TYPES.blk,
  'regular file': FILE_TYPES.reg, 'symbolic link': FILE_TYPES.lnk, socket: FILE_TYPES.sock,
} as const // biome-ignore format: a table

/** The letter for a type in `ls -l`. */
export const typeLetters: Readonly<Record<FileTypeName, string>> = {
  fifo: 'p', 'character device': 'c', directory: 'd', 'block device': 'b', 'regular file': '-', 'symbolic link': 'l', socket: 's',
} // biome-ignore format: a table

/** Names of the inode's flags: those of xfs_io's lsattr, and further ones. */
const flagNames: readonly (readonly [word: 'flags' | 'flags2', bit: number, name: string])[] = [
  ...flagLetters.map(([, word, bit, name]) => [word, bit, name] as const),
  ['flags2', DIFLAGS2.reflink, 'reflink'],
  ['flags2', DIFLAGS2.bigtime, 'bigtime'],
  ['flags2', DIFLAGS2.nrext64, 'nrext64'],
  ['flags2', DIFLAGS2.metadata, 'metadata'],
]

/** @throws XfsError CORRUPT */
export function statOf(inode: Inode, reader: BlockReader = inode.volume): Stat {
  const type = typeName(inode.type)
  return {
    ino: inode.ino,
    type,
    permissions: inode.mode & 0o7777,
    nlink: inode.nlink,
    uid: inode.uid,
    gid: inode.gid,
    projid: inode.projid,
    size: inode.size,
    blocks: inode.nblocks,
    extents: extentCount(inode, 'data'),
    attrExtents: extentCount(inode, 'attr'),
    atime: inode.atime,
    mtime: inode.mtime,
    ctime: inode.ctime,
    crtime: inode.crtime,
    flags: flagNames.filter(([word, bit]) => (inode[word] & bit) !== 0).map(([, , name]) => name),
    extsize: inode.extsize,
    cowextsize: inode.cowextsize,
    generation: inode.generation,
    changeCount: inode.changeCount,
    device: type === 'character device' || type === 'block device' ? deviceNumber(inode) : undefined,
    target: type === 'symbolic link' ? readSymlink(inode, reader) : undefined,
  }
}

export function typeName(type: number): FileTypeName {
  const found = Object.entries(typeNames).find(([, value]) => value === type)
  return (found?.[0] ?? 'regular file') as FileTypeName
}

/** `-rwxr-sr-x` */
export function modeText(stat: Pick<Stat, 'type' | 'permissions'>): string {
  const p = stat.permissions
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = p >> shift
    const x = (bits & 1) !== 0
    const set = (p & special) !== 0
    return `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${set ? (x ? letter : letter.toUpperCase()) : x ? 'x' : '-'}`
  }
  return typeLetters[stat.type] + triple(6, 0o4000, 's') + triple(3, 0o2000, 's') + triple(0, 0o1000, 't')
}

/** `2026-03-01 12:30:15.123456789 +0000`, as stat(1) prints it, in UTC. */
export function timeText({ seconds, nanoseconds }: Timestamp): string {
  const date = new Date(seconds * 1000)
  const iso = date
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, '')
  return `${iso}.${String(nanoseconds).padStart(9, '0')} +0000`
}
