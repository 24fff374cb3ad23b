import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../file/inode.ts'
import type { NewChild, NewContent } from '../file/populate.ts'
import { MAX_FILE_SIZE } from '../file/write.ts'
import type { Ino } from '../format/geometry.ts'
import type { Timestamp } from '../format/time.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { keptAttributes } from './attributes.ts'
import { isZero, withoutZeros } from './holes.ts'
import { type Child, type DirRef, type ImageWriter, LARGE, type LargeContent } from './intoimage.ts'
import type { Mapping } from './mapping.ts'
import type { Fill, Merge } from './merge.ts'
import { type Native, native } from './native.ts'
import type { Problems } from './problems.ts'

/**
 * Reading trees of the host: modes, owners, times to the nanosecond, attributes, links of both kinds, special files and holes, with as few calls as can be.
 */
export interface HostOptions {
  readonly mapping: Mapping
  /** Extended attributes and access control lists too. */
  readonly xattrs: boolean
  /** Blocks of zeros become holes, wherever they are. */
  readonly sparse: boolean
  /** Stay on the file system of the source. */
  readonly oneFileSystem: boolean
}

const SLASH = Buffer.from('/')
const NANOS = 1_000_000_000n

/** A directory of the host whose entries are still to be put. */
interface Pending {
  readonly host: Buffer
  /** Its path below the source, for messages and the mapping. */
  readonly path: Buffer
  readonly dir: DirRef
  readonly device: bigint
}

export class HostReader {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #merge: Merge
  readonly #problems: Problems
  readonly #options: HostOptions
  readonly #native: Native | undefined
  /** Files with several names that were put, by device and inode. */
  readonly #linked = new Map<string, { readonly ino?: Ino | undefined }>()

  constructor(volume: Volume, writer: ImageWriter, merge: Merge, problems: Problems, options: HostOptions) {
    this.#volume = volume
    this.#writer = writer
    this.#merge = merge
    this.#problems = problems
    this.#options = options
    this.#native = native()
  }

  /** Put the file or tree at `host` into a directory of the image, by this name. */
  *put(host: Buffer, dir: DirRef, name: Uint8Array): Steps<void> {
    const path = Buffer.concat([SLASH, name])
    const stats = this.#stat(host, path)
    if (!stats) return
    const below = this.#putOne(host, path, stats, dir, name)
    if (below) yield* this.#tree({ host, path, dir: below, device: stats.dev })
    yield* this.#large()
  }

  /** Put what is in the directory at `host` into a directory of the image. */
  *putContent(host: Buffer, dir: DirRef): Steps<void> {
    const stats = this.#stat(host, SLASH)
    if (!stats) return
    yield* this.#tree({ host, path: Buffer.alloc(0), dir, device: stats.dev })
    yield* this.#large()
  }

  /** What a directory of the image is to look like, from one of the host. */
  attributesOf(host: Buffer): NewChild | undefined {
    const stats = this.#stat(host, SLASH)
    return stats && this.#describe(host, SLASH, stats, new Uint8Array(0))
  }

  *#tree(top: Pending): Steps<void> {
    const stack = [top]
    for (let next = stack.pop(); next; next = stack.pop()) {
      if (this.#writer.failed(next.dir)) continue // told already
      const { host, path, dir } = next
      const prefix = Buffer.concat([host, SLASH])
      const shown = Buffer.concat([path, SLASH])
      const below: Pending[] = []
      for (const name of this.#names(host, path)) {
        const child = Buffer.concat([prefix, name])
        const childPath = Buffer.concat([shown, name])
        const stats = this.#stat(child, childPath)
        if (!stats || (this.#options.oneFileSystem && stats.dev !== next.device)) continue
        const made = this.#putOne(child, childPath, stats, dir, name)
        if (made) below.push({ host: child, path: childPath, dir: made, device: next.device })
        if (this.#writer.hasLarge) yield* this.#large()
        yield this.#progress()
      }
      stack.push(...below.reverse())
    }
  }

  *#large(): Steps<void> {
    for (const _ of this.#writer.writeLarge()) yield this.#progress()
  }

  #progress() {
    return { what: 'copying', done: this.#writer.progress }
  }

  #names(host: Buffer, path: Buffer): Buffer[] {
    try {
      return readdirSync(host, { encoding: 'buffer' }) as unknown as Buffer[]
    } catch (error) {
      this.#problems.add(path, hostMessage(error))
      return []
    }
  }

  #stat(host: Buffer, path: Buffer): BigIntStats | undefined {
    try {
      return lstatSync(host, { bigint: true })
    } catch (error) {
      this.#problems.add(path, hostMessage(error))
      return undefined
    }
  }

  /** Put one file. @returns the directory, where it is one that is to be gone into */
  #putOne(host: Buffer, path: Buffer, stats: BigIntStats, dir: DirRef, name: Uint8Array): DirRef | undefined {
    const type = Number(stats.mode) & S_IFMT
    const many = type !== FILE_TYPES.dir && stats.nlink > 1n
    const key = many ? `${stats.dev}:${stats.ino}` : ''
    const first = many ? this.#linked.get(key) : undefined
    if (first) {
      this.#merge.put(dir, { name, link: first, path })
      return undefined
    }
    try {
      const described = this.#describe(host, path, stats, name)
      const times = type === FILE_TYPES.dir ? { times: { atime: described.atime, mtime: described.mtime } } : {}
      const child: Child & NewChild & DirRef = { ...described, path, ...times }
      const fill = type === FILE_TYPES.reg ? () => this.#contentOf(host, path, stats, dir) : undefined
      const made = this.#merge.put(dir, child, fill)
      if (many && made) this.#linked.set(key, made)
      return type === FILE_TYPES.dir ? made : undefined
    } catch (error) {
      if (error instanceof XfsError && error.code === 'FBIG') this.#problems.add(path, error)
      else if (error instanceof Error && 'syscall' in error) this.#problems.add(path, hostMessage(error))
      else throw error
      return undefined
    }
  }

  #describe(host: Buffer, path: Uint8Array, stats: BigIntStats, name: Uint8Array): NewChild {
    const mode = Number(stats.mode)
    const type = mode & S_IFMT
    const isDevice = type === FILE_TYPES.blk || type === FILE_TYPES.chr
    const { uid, gid, permissions } = this.#options.mapping.apply(path, {
      uid: Number(stats.uid), gid: Number(stats.gid), permissions: mode & 0o7777, isDirectory: type === FILE_TYPES.dir, isLink: type === FILE_TYPES.lnk,
    }) // biome-ignore format: one line
    const attrs = this.#attrs(host, path, permissions)
    return {
      name,
      mode: type | permissions,
      uid,
      gid,
      atime: timestamp(stats.atimeNs),
      mtime: timestamp(stats.mtimeNs),
      device: isDevice ? deviceOf(stats.rdev) : undefined,
      target: type === FILE_TYPES.lnk ? readlinkSync(host, { encoding: 'buffer' }) : undefined,
      attrs,
    }
  }

  #attrs(host: Buffer, path: Uint8Array, permissions: number): NewChild['attrs'] {
    const calls = this.#native
    if (!calls || !this.#options.xattrs) return undefined
    try {
      const names = calls.listXattrs(host)
      if (names.length === 0) return undefined
      const list = names.filter(isCopied).map((name) => ({ name, value: calls.getXattr(host, name) }))
      return keptAttributes(list, permissions, (error) => this.#problems.add(path, error))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOTSUP' && code !== 'EOPNOTSUPP')
        this.#problems.add(path, `its attributes cannot be read: ${(error as Error).message}`)
      return undefined
    }
  }

  /** The content of a small file, read; of a large one, to be read. */
  #contentOf(host: Buffer, path: Buffer, stats: BigIntStats, dir: DirRef): ReturnType<Fill> {
    if (stats.size > BigInt(MAX_FILE_SIZE))
      throw new XfsError('FBIG', `a file of ${stats.size} bytes; at most ${MAX_FILE_SIZE} can be copied`)
    const size = Number(stats.size)
    const holes = this.#options.sparse || stats.blocks * 512n < stats.size
    if (size === 0) return { content: { size, runs: [] } }
    if (size > LARGE) return { large: () => this.#openLarge(host, path, holes) }
    return { content: this.#readSmall(host, size, holes, dir) }
  }

  #readSmall(host: Buffer, size: number, holes: boolean, dir: DirRef): NewContent {
    const { blocksize } = this.#volume.geometry
    const { bytes, at } = this.#writer.room(dir, Math.ceil(size / blocksize))
    const fd = openSync(host, READ)
    let have = 0
    try {
      while (have < size) {
        const count = readSync(fd, bytes, have, size - have, have)
        if (count === 0) break
        have += count
      }
    } finally {
      closeSync(fd)
    }
    const blocks = Math.ceil(have / blocksize)
    bytes.fill(0, have, blocks * blocksize)
    return holes
      ? withoutZeros(bytes, have, blocks, at, blocksize)
      : { size: have, runs: blocks === 0 ? [] : [{ startoff: 0, blockcount: blocks, at }] }
  }

  #openLarge(host: Buffer, path: Buffer, holes: boolean): LargeContent {
    const fd = openSync(host, READ)
    const size = Number(lstatSync(host, { bigint: true }).size)
    const problems = this.#problems
    const calls = this.#native
    const { blocksize } = this.#volume.geometry
    const scan = this.#options.sparse || (holes && !calls)
    return {
      size,
      dense: !holes,
      *runs() {
        const found = holes && calls ? dataRuns(calls, fd, size) : [{ offset: 0, length: size }]
        for (const run of found) {
          if (scan) yield* nonZeroRuns(fd, run.offset, run.length, blocksize)
          else yield run
        }
      },
      read(into, offset) {
        let have = 0
        while (have < into.length) {
          const count = readSync(fd, into, have, into.length - have, offset + have)
          if (count === 0) {
            problems.add(path, 'became shorter while it was read')
            break
          }
          have += count
        }
        return have
      },
      close: () => closeSync(fd),
    }
  }
}

const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)

/** Attributes of the host that mean nothing elsewhere: what XFS shows of access control lists a second time, and NFS. */
const isCopied = (name: Uint8Array): boolean => {
  const text = Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1')
  return text !== 'trusted.SGI_ACL_FILE' && text !== 'trusted.SGI_ACL_DEFAULT' && !text.startsWith('system.nfs')
}

const timestamp = (time: bigint): Timestamp => {
  let seconds = time / NANOS
  let rest = time % NANOS
  if (rest < 0n) {
    seconds -= 1n
    rest += NANOS
  }
  return { seconds: Number(seconds), nanoseconds: Number(rest) }
}

/** As Linux packs device numbers. */
const deviceOf = (rdev: bigint): { major: number; minor: number } => ({
  major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
  minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
})

/** What a call of the host says, without the path that Node puts behind it. */
export const hostMessage = (error: unknown): string => {
  const { message, code } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  return code === 'ENOENT' ? 'no such file' : message.replace(/^([^']*?),? '.*$/s, '$1')
}

function* dataRuns(calls: Native, fd: number, size: number): Generator<{ offset: number; length: number }> {
  for (let at = 0; at < size; ) {
    const start = calls.nextData(fd, at)
    if (start === undefined || start >= size) return
    const end = Math.min(size, calls.nextHole(fd, start))
    yield { offset: start, length: end - start }
    at = end
  }
}

const SCAN = 2 ** 20

/** Parts of a range with something in them, in whole blocks. */
function* nonZeroRuns(
  fd: number,
  offset: number,
  length: number,
  blocksize: number,
): Generator<{ offset: number; length: number }> {
  const buffer = new Uint8Array(Math.max(SCAN, blocksize))
  let start = -1
  for (let at = offset; at < offset + length; ) {
    const have = readSync(fd, buffer, 0, Math.min(buffer.length, offset + length - at), at)
    if (have === 0) break
    for (let block = 0; block < have; block += blocksize) {
      const end = Math.min(block + blocksize, have)
      if (isZero(buffer.subarray(block, end))) {
        if (start >= 0) yield { offset: start, length: at + block - start }
        start = -1
      } else if (start < 0) start = at + block
    }
    at += have
  }
  if (start >= 0) yield { offset: start, length: offset + length - start }
}
