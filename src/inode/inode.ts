import type { Buf } from '../buffer/buf.ts'
import { XfsError } from '../errors.ts'
import { DevFork, DIFLAGS, DIFLAGS2, Dinode, FILE_TYPES, FORKOFF_UNIT, flags2Of, S_IFMT } from '../format/dinode.ts'
import { getExact64, set64 } from '../format/fields.ts'
import type { Ino } from '../format/geometry.ts'
import { decodeTime, encodeTime, type Timestamp } from '../format/time.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { verifyInode, verifyInodeFields } from '../format/verify/inodes.ts'
import type { Transaction } from '../tx/transaction.ts'
import type { Bytes } from '../util/bytes.ts'
import type { BlockReader, Volume } from '../volume.ts'
import { verifyForks } from './forkcheck.ts'

/**
 * Inodes: their cores, and the space of each fork. For allocating and freeing see ialloc.ts, for
 * AGI unlinked lists unlinked.ts. The contents of forks (extents, names, attributes) are handled
 * elsewhere.
 *
 * A handle (Inode) has no copies: it is a position in an inode block and reads the bytes each time.
 * So it stays valid when the bytes change, and when a transaction is undone.
 *
 *   block of inodes   │ inode │ inode │ …
 *
 *   an inode          │ core (176) │ literal area: data fork │ attribute fork │
 *                                  ◀───── forkoff × 8 ──────▶
 *
 * Invariants: `openInode` has verified what callers depend on (fork formats and offsets, counts
 * that fit; before a change also forkcheck.ts). Bytes are changed only after `editInode`, which
 * increments the change count once per transaction, as the kernel does.
 *
 * Format: XFS_Filesystem_Structure, "Inodes"; rules for a valid core: xfs_inode_buf.c.
 */
export type ForkName = 'data' | 'attr'

export const FORK_NAMES = ['data', 'attr'] as const

const fields = Dinode.fields

/** A position in an inode block. */
export class Inode {
  readonly volume: Volume
  readonly ino: Ino
  readonly daddr: number
  /** Bytes from the start of its block. */
  readonly at: number
  #buf: Buf

  /** Use `openInode`. */
  constructor(volume: Volume, ino: Ino, buf: Buf, at: number) {
    this.volume = volume
    this.ino = ino
    this.daddr = buf.daddr
    this.at = at
    this.#buf = buf
  }

  /** The current block in the cache. */
  get buf(): Buf {
    const { cache, geometry } = this.volume
    if (cache.cached(this.daddr) !== this.#buf)
      this.#buf = cache.read(blockTypes.inodes, this.daddr, geometry.blocksize)
    return this.#buf
  }

  get view(): DataView {
    return this.buf.view
  }

  get agno(): number {
    return this.volume.geometry.inoAgno(this.ino)
  }

  get agino(): number {
    return this.volume.geometry.inoAgino(this.ino)
  }

  get mode(): number {
    return fields.mode.get(this.view, this.at)
  }

  /** The type bits of `mode`. */
  get type(): number {
    return this.mode & S_IFMT
  }

  get isDirectory(): boolean {
    return this.type === FILE_TYPES.dir
  }

  get isRegular(): boolean {
    return this.type === FILE_TYPES.reg
  }

  get isSymlink(): boolean {
    return this.type === FILE_TYPES.lnk
  }

  get version(): number {
    return fields.version.get(this.view, this.at)
  }

  get size(): Bytes {
    return getExact64(this.view, this.at + fields.size.offset)
  }

  /**
   * The size as a Number, rounded past 2^53: for directories and links, which are small, and for
   * range checks.
   */
  get roundedSize(): number {
    return fields.size.get(this.view, this.at)
  }

  get nlink(): number {
    return this.version === 1 ? fields.onlink.get(this.view, this.at) : fields.nlink.get(this.view, this.at)
  }

  get uid(): number {
    return fields.uid.get(this.view, this.at)
  }

  get gid(): number {
    return fields.gid.get(this.view, this.at)
  }

  get projid(): number {
    if (this.version === 1) return 0
    return fields.projid_hi.get(this.view, this.at) * 65536 + fields.projid_lo.get(this.view, this.at)
  }

  get flags(): number {
    return fields.flags.get(this.view, this.at)
  }

  /** The low word of flags2; 0 below version 3. */
  get flags2(): number {
    return this.version < 3 ? 0 : flags2Of(this.view, this.at)
  }

  get bigtime(): boolean {
    return (this.flags2 & DIFLAGS2.bigtime) !== 0
  }

  get nrext64(): boolean {
    return (this.flags2 & DIFLAGS2.nrext64) !== 0
  }

  /** True if it may share blocks. */
  get reflink(): boolean {
    return (this.flags2 & DIFLAGS2.reflink) !== 0
  }

  get realtime(): boolean {
    return (this.flags & DIFLAGS.realtime) !== 0
  }

  get nblocks(): number {
    return fields.nblocks.get(this.view, this.at)
  }

  get generation(): number {
    return fields.gen.get(this.view, this.at)
  }

  get forkoff(): number {
    return fields.forkoff.get(this.view, this.at)
  }

  get extsize(): number {
    return fields.extsize.get(this.view, this.at)
  }

  get cowextsize(): number {
    return this.version < 3 ? 0 : fields.cowextsize.get(this.view, this.at)
  }

  get changeCount(): number {
    return this.version < 3 ? 0 : fields.change_count.get(this.view, this.at)
  }

  get atime(): Timestamp {
    return decodeTime(fields.atime.get(this.view, this.at), this.bigtime)
  }

  get mtime(): Timestamp {
    return decodeTime(fields.mtime.get(this.view, this.at), this.bigtime)
  }

  get ctime(): Timestamp {
    return decodeTime(fields.ctime.get(this.view, this.at), this.bigtime)
  }

  /** The time of its creation; undefined below version 3. */
  get crtime(): Timestamp | undefined {
    return this.version < 3 ? undefined : decodeTime(fields.crtime.get(this.view, this.at), this.bigtime)
  }
}

/** An error about this inode. */
export function inodeError(ino: number, message: string, field?: string): XfsError {
  return new XfsError('CORRUPT', `inode ${ino}: ${message}`, { type: 'inode', ino, ...(field ? { field } : {}) })
}

/**
 * The inode `ino`, which must be in use and valid.
 * @throws XfsError INVAL (not a possible inode number), NOENT (it is free), BADCRC or CORRUPT
 */
export function openInode(volume: Volume, ino: number, reader: BlockReader = volume): Inode {
  const inode = inodeAt(volume, ino, reader)
  if (inode.mode === 0) throw new XfsError('NOENT', `inode ${ino} is free`, { type: 'inode', ino })
  return inode
}

/**
 * The handle of an inode, in use or free, after verification. If the volume is writable, its forks
 * are verified as well.
 * @throws XfsError INVAL (not a possible inode number), BADCRC or CORRUPT
 */
export function inodeAt(volume: Volume, ino: number, reader: BlockReader = volume): Inode {
  const { geometry } = volume
  if (!geometry.validIno(ino))
    throw new XfsError('INVAL', `inode number ${ino} is out of range`, { type: 'inode', ino })
  const agino = geometry.inoAgino(ino)
  const buf = volume.block(blockTypes.inodes, geometry.inoAgno(ino), geometry.aginoAgbno(agino), reader)
  const at = geometry.aginoIndex(agino) * geometry.inodesize
  // A changed inode is stamped when its transaction ends. Until then the checksum is that of its
  // old content.
  const changing = reader === volume ? buf.pinned : (reader as Partial<Transaction>).isEdited?.(buf)
  if (!changing && buf.verified?.has(at)) return new Inode(volume, ino as Ino, buf, at)
  const fault = changing ? verifyInodeFields(buf.view, at, ino, geometry) : verifyInode(buf.view, at, ino, geometry)
  if (fault) {
    const where = { type: 'inode', ino, ...(fault.field ? { field: fault.field } : {}) }
    throw new XfsError(fault.crc ? 'BADCRC' : 'CORRUPT', `inode ${ino}: ${fault.message}`, where)
  }
  if (volume.writable) verifyForks(volume, ino, buf.view, at, reader, changing === true)
  if (!changing) {
    buf.verified ??= new Set()
    buf.verified.add(at)
  }
  return new Inode(volume, ino as Ino, buf, at)
}

/** Bytes after the core. */
export const literalSize = (volume: Volume): number => volume.geometry.inodesize - volume.geometry.coresize

/** Bytes of a fork in the inode; 0 for an attribute fork that does not exist. */
export function forkSize(inode: Inode, fork: ForkName): number {
  const literal = literalSize(inode.volume)
  const { forkoff } = inode
  if (fork === 'data') return forkoff === 0 ? literal : forkoff * FORKOFF_UNIT
  return forkoff === 0 ? 0 : literal - forkoff * FORKOFF_UNIT
}

/** May its attributes and its names change? @throws XfsError PERM */
export function requireChangeable({ flags, ino }: Inode): void {
  if ((flags & (DIFLAGS.immutable | DIFLAGS.append)) !== 0)
    throw new XfsError('PERM', `inode ${ino} is immutable or append-only`, { type: 'inode', ino })
}

/** The start of a fork in the inode's block. */
export const forkStart = (inode: Inode, fork: ForkName): number =>
  inode.at + inode.volume.geometry.coresize + (fork === 'data' ? 0 : inode.forkoff * FORKOFF_UNIT)

/** The complete space of a fork; the bytes change with the inode. */
export function forkBytes(inode: Inode, fork: ForkName): Uint8Array {
  const start = forkStart(inode, fork)
  return inode.buf.bytes.subarray(start, start + forkSize(inode, fork))
}

export const hasAttrFork = (inode: Inode): boolean => inode.forkoff !== 0

/** The format of a fork: one of FORK_FORMATS. */
export const forkFormat = (inode: Inode, fork: ForkName): number =>
  (fork === 'data' ? fields.format : fields.aformat).get(inode.view, inode.at)

/** Extents of a fork, without its btree blocks. */
export function extentCount(inode: Inode, fork: ForkName): number {
  const { view, at } = inode
  if (fork === 'data') return inode.nrext64 ? fields.big_nextents.get(view, at) : fields.nextents.get(view, at)
  return inode.nrext64 ? fields.nextents.get(view, at) : fields.anextents.get(view, at)
}

/** Set the value that `extentCount` returns. */
export function setExtentCount(tx: Transaction, inode: Inode, fork: ForkName, count: number): void {
  const view = editInode(tx, inode)
  const { at, nrext64 } = inode
  if (fork === 'data') {
    if (nrext64) fields.big_nextents.set(view, at, count)
    else fields.nextents.set(view, at, count)
  } else if (nrext64) {
    fields.nextents.set(view, at, count)
    fields.anextents.set(view, at, 0)
  } else fields.anextents.set(view, at, count)
}

/** Set the format of a fork. */
export function setForkFormat(tx: Transaction, inode: Inode, fork: ForkName, format: number): void {
  const view = editInode(tx, inode)
  if (fork === 'data') fields.format.set(view, inode.at, format)
  else fields.aformat.set(view, inode.at, format)
}

/** Major numbers are below 2^9, minor numbers below 2^18: the limits of mknod(2) on XFS. */
export const DEVICE_LIMITS = { major: 2 ** 9, minor: 2 ** 18 } as const

/** A device number in the format of the data fork. @throws XfsError INVAL */
export function packDevice({ major, minor }: { readonly major: number; readonly minor: number }): number {
  if (!(major >= 0 && major < DEVICE_LIMITS.major && minor >= 0 && minor < DEVICE_LIMITS.minor))
    throw new XfsError(
      'INVAL',
      `device ${major},${minor}: XFS has major numbers below 512 and minor numbers below 2^18`,
    )
  return major * DEVICE_LIMITS.minor + minor
}

/** The device number of a special file: major and minor as for mknod(2). */
export function deviceNumber(inode: Inode): { major: number; minor: number } {
  const raw = DevFork.fields.dev.get(inode.view, forkStart(inode, 'data'))
  return { major: Math.floor(raw / DEVICE_LIMITS.minor), minor: raw % DEVICE_LIMITS.minor }
}

/** Inodes whose change a transaction has counted. */
const counted = new WeakMap<Transaction, Set<number>>()

/**
 * Call before changing an inode's bytes; repeated calls are allowed. The first call in a
 * transaction increments the change count.
 */
export function editInode(tx: Transaction, inode: Inode): DataView {
  const view = tx.edit(inode.buf)
  let seen = counted.get(tx)
  if (!seen) {
    seen = new Set()
    counted.set(tx, seen)
  }
  if (!seen.has(inode.ino)) {
    seen.add(inode.ino)
    if (fields.version.get(view, inode.at) === 3)
      fields.change_count.set(view, inode.at, fields.change_count.get(view, inode.at) + 1)
  }
  return view
}

export interface InodeChanges {
  readonly mode?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly nlink?: number | undefined
  readonly projid?: number | undefined
  readonly size?: Bytes | undefined
  readonly flags?: number | undefined
  /** The low word; the high word keeps its bits. */
  readonly flags2?: number | undefined
  readonly extsize?: number | undefined
  readonly cowextsize?: number | undefined
  readonly nblocks?: number | undefined
  readonly generation?: number | undefined
  readonly atime?: Timestamp | undefined
  readonly mtime?: Timestamp | undefined
  readonly ctime?: Timestamp | undefined
  readonly crtime?: Timestamp | undefined
}

/** Set fields of an inode. Flags come first, because they determine the format of timestamps. */
export function updateInode(tx: Transaction, inode: Inode, changes: InodeChanges): void {
  const view = editInode(tx, inode)
  const { at } = inode
  if (changes.flags2 !== undefined)
    fields.flags2.set(view, at, { hi: fields.flags2.get(view, at).hi, lo: changes.flags2 >>> 0 })
  for (const name of ['mode', 'uid', 'gid', 'nlink', 'flags', 'extsize', 'cowextsize', 'nblocks'] as const) {
    const value = changes[name]
    if (value !== undefined) fields[name].set(view, at, value)
  }
  if (changes.size !== undefined) set64(view, at + fields.size.offset, changes.size)
  if (changes.generation !== undefined) fields.gen.set(view, at, changes.generation >>> 0)
  if (changes.projid !== undefined) {
    fields.projid_lo.set(view, at, changes.projid & 0xffff)
    fields.projid_hi.set(view, at, changes.projid >>> 16)
  }
  const { bigtime } = inode
  for (const name of ['atime', 'mtime', 'ctime', 'crtime'] as const) {
    const value = changes[name]
    if (value !== undefined) fields[name].set(view, at, encodeTime(value, bigtime))
  }
}

/** The timestamps to set to the current time. */
interface Touch {
  readonly atime?: boolean
  readonly mtime?: boolean
  readonly ctime?: boolean
}

/** Set timestamps to the volume's current time. */
export function touchInode(tx: Transaction, inode: Inode, which: Touch): void {
  const now = tx.volume.now()
  updateInode(tx, inode, {
    ...(which.atime ? { atime: now } : {}),
    ...(which.mtime ? { mtime: now } : {}),
    ...(which.ctime ? { ctime: now } : {}),
  })
}

/** Add to the block count of the inode; may be negative. */
export function addBlocks(tx: Transaction, inode: Inode, count: number): void {
  if (count !== 0) updateInode(tx, inode, { nblocks: inode.nblocks + count })
}
