import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Timestamp } from '../format/time.ts'
import type { Inode } from '../inode/inode.ts'
import { type Stat, statOf } from '../namespace/stat.ts'

export { modeText, type Stat, timeText, typeLetters } from '../namespace/stat.ts'

/** Bytes that stat(2) counts `blocks` in. */
const STAT_BLOCK = 512

/** What a `Stats` is made from: plain data. */
export interface StatData {
  /** Type and permissions. */
  readonly mode: number
  /** Bytes of a filesystem block. */
  readonly blksize: number
  readonly xfs: Stat
}

export const statData = (inode: Inode): StatData => ({
  mode: inode.mode,
  blksize: inode.volume.geometry.blocksize,
  xfs: statOf(inode),
})

class Typed {
  /** Type and permissions; of a directory entry the type only. */
  readonly mode: number

  constructor(mode: number) {
    this.mode = mode
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.reg
  }
  isDirectory(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.dir
  }
  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.lnk
  }
  isBlockDevice(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.blk
  }
  isCharacterDevice(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.chr
  }
  isFIFO(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.fifo
  }
  isSocket(): boolean {
    return (this.mode & S_IFMT) === FILE_TYPES.sock
  }
}

/**
 * What stat(2) reports, in the shape of Node's `fs.Stats`; and in `xfs` what statx(2) and XFS
 * report besides.
 */
export class Stats extends Typed {
  /** Always 0: an image has no device number. */
  readonly dev = 0
  readonly ino: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** Of a device node: as Linux encodes major and minor number. Else 0. */
  readonly rdev: number
  /** Bytes; above 2^53 rounded (`xfs.size` is exact). */
  readonly size: number
  /** Bytes of a filesystem block. */
  readonly blksize: number
  /** Units of 512 bytes. */
  readonly blocks: number
  /** Times with nanoseconds, extents, flags, project, hints, the target of a symbolic link. */
  readonly xfs: Stat

  /** Use `XfsImage.stat`. */
  constructor({ mode, blksize, xfs }: StatData) {
    super(mode)
    this.ino = xfs.ino
    this.nlink = xfs.nlink
    this.uid = xfs.uid
    this.gid = xfs.gid
    this.rdev = xfs.device ? linuxDevice(xfs.device) : 0
    this.size = Number(xfs.size)
    this.blksize = blksize
    this.blocks = (xfs.blocks * blksize) / STAT_BLOCK
    this.xfs = xfs
  }

  get atimeMs(): number {
    return milliseconds(this.xfs.atime)
  }
  get mtimeMs(): number {
    return milliseconds(this.xfs.mtime)
  }
  get ctimeMs(): number {
    return milliseconds(this.xfs.ctime)
  }
  /** The time of creation; that of the last change where the inode has none (V4). */
  get birthtimeMs(): number {
    return milliseconds(this.xfs.crtime ?? this.xfs.ctime)
  }
  get atime(): Date {
    return new Date(this.atimeMs)
  }
  get mtime(): Date {
    return new Date(this.mtimeMs)
  }
  get ctime(): Date {
    return new Date(this.ctimeMs)
  }
  get birthtime(): Date {
    return new Date(this.birthtimeMs)
  }
}

/** An entry of a directory, in the shape of Node's `fs.Dirent`. */
export class Dirent<Name extends string | Uint8Array = string> extends Typed {
  readonly name: Name
  /** The directory that it is in. */
  readonly parentPath: string
  readonly ino: number

  /** @param type the type bits of a mode */
  constructor(name: Name, parentPath: string, ino: number, type: number) {
    super(type)
    this.name = name
    this.parentPath = parentPath
    this.ino = ino
  }
}

const milliseconds = ({ seconds, nanoseconds }: Timestamp): number => seconds * 1000 + nanoseconds / 1_000_000

/** Source: include/linux/kdev_t.h, new_encode_dev. */
const linuxDevice = ({ major, minor }: { readonly major: number; readonly minor: number }): number =>
  ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0

/** A time as `utimes` takes it: a Date, seconds since 1970 (may have a fraction), or exact. */
export type TimeLike = Date | number | Timestamp

/** @throws XfsError INVAL */
export function timestampOf(time: TimeLike): Timestamp {
  if (typeof time === 'number') return fromSeconds(time)
  if (typeof time === 'object' && time !== null) {
    if ('getTime' in time) return fromSeconds(time.getTime() / 1000)
    const { seconds, nanoseconds } = time
    if (Number.isSafeInteger(seconds) && Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds < 1e9)
      return { seconds, nanoseconds }
  }
  throw noTime(time)
}

function fromSeconds(value: number): Timestamp {
  const seconds = Math.floor(value)
  if (!Number.isFinite(seconds)) throw noTime(value)
  return { seconds, nanoseconds: Math.round((value - seconds) * 1e9) % 1e9 }
}

const noTime = (value: unknown): XfsError =>
  new XfsError(
    'INVAL',
    `not a time: ${typeof value === 'object' ? Object.prototype.toString.call(value) : String(value)}`,
  )
