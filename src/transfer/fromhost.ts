import { type BigIntStats, closeSync, lstatSync, openSync, readSync } from 'node:fs'
import { isZero } from '#native'
import { type Native, native } from '../device/native.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import type { Timestamp } from '../format/time.ts'
import type { NewContent } from '../namespace/newcontent.ts'
import { add, type Bytes, capped, exact, least, subtract } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { keptAttributes } from './attributes.ts'
import type { CopyProblems } from './copyproblems.ts'
import { withoutZeros } from './holes.ts'
import { factsOf, HostFile, hostMessage, READ } from './hostwalk.ts'
import { type Child, type DirRef, type ImageWriter, LARGE, type LargeContent, type NewCopy } from './intoimage.ts'
import type { Fill, Merge } from './merge.ts'
import { below } from './names.ts'
import type { OwnerRules } from './ownerrules.ts'
import { walkAhead } from './readahead.ts'

/**
 * Read trees of the host with few system calls: modes, owners, times in nanoseconds, attributes,
 * hard and symbolic links, special files and holes.
 */
export interface HostOptions {
  readonly mapping: OwnerRules
  /** Extended attributes and access control lists too. */
  readonly xattrs: boolean
  /** Convert blocks of zeros to holes. */
  readonly sparse: boolean
  /** Access time for every file (default: that of the file). */
  readonly atime?: Timestamp | undefined
  /** Do not descend into other filesystems. */
  readonly oneFileSystem: boolean
}

const SLASH = Buffer.from('/')

/** A directory that was found and put. */
interface Pending {
  readonly host: Buffer
  /** Path below the source, for the mapping and for messages about the image. */
  readonly path: Buffer
  readonly dir: DirRef
}

export class HostReader {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #merge: Merge
  readonly #problems: CopyProblems
  readonly #options: HostOptions
  readonly #native: Native | undefined
  /** Files with hard links that were put, by device and inode. */
  readonly #linked = new Map<string, { readonly ino?: Ino | undefined }>()

  constructor(volume: Volume, writer: ImageWriter, merge: Merge, problems: CopyProblems, options: HostOptions) {
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
    const stats = this.#stat(host)
    if (!stats) return
    const made = this.#putOne(new HostFile(factsOf(host, Buffer.from(name), stats, 0)), path, dir)
    if (made) yield* this.#tree(stats.dev, { host, path, dir: made })
    yield* this.#large()
  }

  /** Put the contents of the directory at `host` into a directory of the image. */
  *putContent(host: Buffer, dir: DirRef): Steps<void> {
    const stats = this.#stat(host)
    if (!stats) return
    yield* this.#tree(stats.dev, { host, path: Buffer.alloc(0), dir })
    yield* this.#large()
  }

  /** The properties of a directory of the image, from one of the host. */
  attributesOf(host: Buffer): (Child & NewCopy) | undefined {
    const stats = this.#stat(host)
    return stats && this.#describe(new HostFile(factsOf(host, Buffer.alloc(0), stats, 0)), SLASH)
  }

  *#tree(device: bigint, top: Pending): Steps<void> {
    const { oneFileSystem, xattrs } = this.#options
    const places = [{ id: 0, host: top.host, device }]
    const dirs = new Map([[0, top]])
    /** The current directory; undefined if it could not be created, which was reported. */
    let now: Pending | undefined
    for (const found of walkAhead({ places, lastId: 0, oneFileSystem, most: LARGE, xattrs })) {
      if (found?.kind === 'enter') {
        now = dirs.get(found.id)
        dirs.delete(found.id)
        if (now && this.#writer.failed(now.dir)) now = undefined
      } else if (found && now) {
        const name = found.kind === 'file' ? found.file.facts.name : found.name
        if (found.kind === 'problem')
          this.#problems.add(name.length === 0 ? now.host : below(now.host, name), found.message)
        else {
          const path = below(now.path, name)
          const dir = this.#putOne(found.file, path, now.dir)
          if (dir) dirs.set(found.file.facts.id, { host: found.file.facts.host, path, dir })
        }
      }
      if (this.#writer.hasLarge) yield* this.#large()
      yield this.#progress()
    }
  }

  *#large(): Steps<void> {
    for (const _ of this.#writer.writeLarge()) yield this.#progress()
  }

  #progress() {
    return { what: 'copying', done: this.#writer.progress }
  }

  #stat(host: Buffer): BigIntStats | undefined {
    try {
      return lstatSync(host, { bigint: true })
    } catch (error) {
      this.#problems.add(host, hostMessage(error))
      return undefined
    }
  }

  /** Put one file. @returns the directory to descend into, if it is one */
  #putOne(file: HostFile, path: Buffer, dir: DirRef): DirRef | undefined {
    const { facts } = file
    const type = facts.mode & S_IFMT
    const many = type !== FILE_TYPES.dir && facts.identity !== ''
    const first = many ? this.#linked.get(facts.identity) : undefined
    if (first) {
      this.#merge.put(dir, { name: facts.name, link: first, path })
      return undefined
    }
    try {
      const child = this.#describe(file, path)
      const fill = type === FILE_TYPES.reg ? () => this.#contentOf(file, dir) : undefined
      const made = this.#merge.put(dir, child, { fill })
      if (many && made) this.#linked.set(facts.identity, made)
      return type === FILE_TYPES.dir ? made : undefined
    } catch (error) {
      if (error instanceof XfsError && error.code === 'FBIG') this.#problems.add(path, error)
      else if (error instanceof Error && 'syscall' in error) this.#problems.add(facts.host, hostMessage(error))
      else throw error
      return undefined
    }
  }

  /**
   * All metadata. Objects of one shape, with fields for later values, are faster to create and to
   * read.
   */
  #describe(file: HostFile, path: Uint8Array): Child & NewCopy & DirRef {
    const { facts } = file
    const type = facts.mode & S_IFMT
    const isDevice = type === FILE_TYPES.blk || type === FILE_TYPES.chr
    const { uid, gid, permissions } = this.#options.mapping.apply(path, {
      uid: facts.uid, gid: facts.gid, permissions: facts.mode & 0o7777, isDirectory: type === FILE_TYPES.dir, isLink: type === FILE_TYPES.lnk,
    }) // biome-ignore format: one line
    const attrs = this.#attrs(file, path, permissions)
    const { atime = facts.atime } = this.#options
    return {
      name: facts.name,
      mode: type | permissions,
      uid,
      gid,
      atime,
      mtime: facts.mtime,
      device: isDevice ? { major: facts.major, minor: facts.minor } : undefined,
      target: type === FILE_TYPES.lnk ? file.target() : undefined,
      attrs,
      content: undefined,
      large: undefined,
      ino: undefined,
      path,
      times: type === FILE_TYPES.dir ? { atime, mtime: facts.mtime } : undefined,
    }
  }

  #attrs(file: HostFile, path: Uint8Array, permissions: number): NewCopy['attrs'] {
    if (!this.#options.xattrs) return undefined
    try {
      const list = file.xattrs()
      if (list.length === 0) return undefined
      return keptAttributes(list, permissions, (error) => this.#problems.add(path, error))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOTSUP' && code !== 'EOPNOTSUPP')
        this.#problems.add(file.facts.host, `cannot read its attributes: ${(error as Error).message}`)
      return undefined
    }
  }

  /** The content of a small file, read; of a large one, to be read. */
  #contentOf(file: HostFile, dir: DirRef): ReturnType<Fill> {
    const { host, size, allocated } = file.facts
    const holes = this.#options.sparse || allocated < size
    if (size === 0) return { content: { size: 0, runs: [] } }
    if (size > LARGE) return { large: () => this.#openLarge(host, holes) }
    return { content: this.#readSmall(file, Number(size), holes, dir) }
  }

  #readSmall(file: HostFile, size: number, holes: boolean, dir: DirRef): NewContent {
    const { blocksize } = this.#volume.geometry
    const { bytes, at } = this.#writer.room(dir, Math.ceil(size / blocksize))
    const have = file.read(bytes.subarray(0, size))
    const blocks = Math.ceil(have / blocksize)
    bytes.fill(0, have, blocks * blocksize)
    return holes
      ? withoutZeros(bytes, have, blocks, at, blocksize)
      : { size: have, runs: blocks === 0 ? [] : [{ startoff: 0, blockcount: blocks, at }] }
  }

  #openLarge(host: Buffer, holes: boolean): LargeContent {
    const fd = openSync(host, READ)
    const size = exact(lstatSync(host, { bigint: true }).size)
    const problems = this.#problems
    const calls = this.#native
    const { blocksize } = this.#volume.geometry
    const scan = this.#options.sparse || (holes && !calls)
    return {
      size,
      dense: !holes,
      *runs() {
        const found = holes && calls ? dataRuns(calls, fd, size, blocksize) : [{ offset: 0, length: size }]
        for (const run of found) {
          if (scan) yield* nonZeroRuns(fd, run.offset, run.length, blocksize)
          else yield run
        }
      },
      read(into, offset) {
        let have = 0
        while (have < into.length) {
          const count = readSync(fd, into, have, into.length - have, add(offset, have) as number)
          if (count === 0) {
            problems.add(host, 'was truncated while it was read')
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

/** tmpfs reports the last possible page of a file as a hole: read it. */
const SEEKABLE: Bytes = 2n ** 63n - 2n ** 16n

function* dataRuns(
  calls: Native,
  fd: number,
  size: Bytes,
  blocksize: number,
): Generator<{ offset: Bytes; length: Bytes }> {
  const limit = least(size, SEEKABLE)
  for (let at: Bytes = 0; at < limit; ) {
    const start = calls.nextData(fd, at)
    if (start === undefined || start >= limit) break
    const end: Bytes = least(limit, calls.nextHole(fd, start))
    yield { offset: start, length: subtract(end, start) }
    at = end
  }
  if (size > limit) yield* nonZeroRuns(fd, limit, subtract(size, limit), blocksize)
}

const SCAN = 2 ** 20

/** Parts of a range with data, in whole blocks. */
function* nonZeroRuns(
  fd: number,
  offset: Bytes,
  length: Bytes,
  blocksize: number,
): Generator<{ offset: Bytes; length: Bytes }> {
  const buffer = new Uint8Array(Math.max(SCAN, blocksize))
  // From the start of the range.
  let start = -1
  const run = (end: Bytes) => ({ offset: add(offset, start), length: subtract(end, start) })
  for (let at = 0; at < length; ) {
    const have = readSync(fd, buffer, 0, capped(subtract(length, at), buffer.length), add(offset, at) as number)
    if (have === 0) break
    for (let block = 0; block < have; block += blocksize) {
      const end = Math.min(block + blocksize, have)
      if (isZero(buffer, block, end)) {
        if (start >= 0) yield run(at + block)
        start = -1
      } else if (start < 0) start = at + block
    }
    at += have
  }
  if (start >= 0) yield run(length)
}
