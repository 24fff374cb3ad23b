import { checkName } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { fitsTime, type Timestamp } from '../format/time.ts'
import type { NewContent } from '../namespace/newcontent.ts'
import { MAX_PATH, splitPath } from '../namespace/resolve.ts'
import { add, subtract } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { keptAttributes } from './attributes.ts'
import type { ByteSource } from './bytesource.ts'
import type { CopyProblems } from './copyproblems.ts'
import { withoutZeros } from './holes.ts'
import { hostIds } from './hostids.ts'
import { type Child, type DirRef, type ImageWriter, LARGE, type LargeContent, type NewCopy } from './intoimage.ts'
import type { Found, Merge } from './merge.ts'
import type { OwnerRules } from './ownerrules.ts'
import { latin1 } from './pax.ts'
import { readTar, type TarEntry, type TarType } from './tarread.ts'

/**
 * Put a tar archive into an image, as GNU tar extracts one.
 *
 * Paths, also those of hard links, are relative to the destination directory: a leading slash is
 * dropped. A hard link refers to the file at its path when the link is read. An entry replaces an
 * existing file, except a directory that is not empty. Entries are reported and skipped if their
 * path contains `..` or a symbolic link, or if their owner, mode or device number is invalid for
 * the image.
 */
interface TarOptions {
  readonly mapping: OwnerRules
  readonly xattrs: boolean
  /** Blocks of zeros anywhere become holes. */
  readonly sparse: boolean
}

const types: Readonly<Record<Exclude<TarType, 'link'>, number>> = {
  file: FILE_TYPES.reg, directory: FILE_TYPES.dir, symlink: FILE_TYPES.lnk, char: FILE_TYPES.chr, block: FILE_TYPES.blk, fifo: FILE_TYPES.fifo,
} // biome-ignore format: a table

export class TarPutter {
  readonly #volume: Volume
  readonly #writer: ImageWriter
  readonly #merge: Merge
  readonly #problems: CopyProblems
  readonly #options: TarOptions
  /** The destination directory. */
  readonly #top: DirRef

  constructor(
    volume: Volume,
    writer: ImageWriter,
    merge: Merge,
    problems: CopyProblems,
    top: DirRef,
    options: TarOptions,
  ) {
    this.#top = top
    this.#volume = volume
    this.#writer = writer
    this.#merge = merge
    this.#problems = problems
    this.#options = options
  }

  /** Put all entries. @throws XfsError INVAL (not a tar archive), IO */
  *put(source: ByteSource): Steps<void> {
    for (const entry of readTar(source, hostIds())) {
      if (this.#options.xattrs) for (const fault of entry.faults) this.#problems.add(entry.path, fault)
      try {
        yield* this.#entry(entry)
      } catch (error) {
        if (!(error instanceof XfsError) || error.code === 'IO' || error.message.startsWith('not a sound tar'))
          throw error
        this.#problems.add(entry.path, error)
      }
      yield { what: 'copying', done: this.#writer.progress }
    }
  }

  *#entry(entry: TarEntry): Steps<void> {
    if (entry.refusal) throw entry.refusal
    if (entry.path.length === 0) throw new XfsError('INVAL', 'an entry without a name')
    if (entry.path.length > MAX_PATH) throw new XfsError('NAMETOOLONG', `a path of more than ${MAX_PATH} bytes`)
    if (entry.target && entry.target.length > MAX_PATH)
      throw new XfsError('NAMETOOLONG', `a link target of more than ${MAX_PATH} bytes`)
    const parts = splitPath(entry.path)
    if (parts.some(isUp)) throw new XfsError('INVAL', 'a path with ".." in it')
    for (const part of parts) checkName(part)
    const name = parts.at(-1)
    if (entry.type === 'link') {
      if (name) this.#link(entry, parts, name)
      return
    }
    const child: Child & NewCopy & DirRef = {
      ...this.#describe(entry, parts, name ?? new Uint8Array(0)),
      path: entry.path,
    }
    if (entry.type === 'directory' && !name) {
      if (this.#merge.setAttributes(this.#writer.inoOf(this.#top) as Ino, child)) this.#top.times = child.times
      return
    }
    if (!name) throw new XfsError('INVAL', 'an entry without a name')
    const dir = this.#parent(parts)
    const large = entry.type === 'file' && entry.size > LARGE
    const fill = large
      ? () => ({ large: () => contentOf(entry, this.#problems) })
      : () => ({ content: this.#small(entry, dir) })
    this.#merge.put(dir, child, { fill: entry.type === 'file' ? fill : undefined, anyType: true })
    if (large) for (const _ of this.#writer.writeLarge()) yield { what: 'copying', done: this.#writer.progress }
  }

  #describe(
    entry: TarEntry,
    parts: readonly Uint8Array[],
    name: Uint8Array,
  ): NewCopy & { times?: { atime: Timestamp; mtime: Timestamp } } {
    const type = types[entry.type as Exclude<TarType, 'link'>]
    const { uid, gid, permissions } = this.#options.mapping.apply(pathOf(parts), {
      uid: entry.uid, gid: entry.gid, permissions: entry.permissions, isDirectory: entry.type === 'directory', isLink: entry.type === 'symlink',
    }) // biome-ignore format: one line
    const mtime = this.#timeOf(entry)
    const atime = entry.atime ?? mtime
    return {
      name,
      mode: type | (entry.type === 'symlink' ? 0o777 : permissions),
      uid,
      gid,
      atime,
      mtime,
      device: entry.device,
      target: entry.type === 'symlink' ? entry.target : undefined,
      attrs:
        this.#options.xattrs && entry.xattrs.length > 0
          ? keptAttributes(entry.xattrs, permissions, (error) => this.#problems.add(entry.path, error))
          : undefined,
      ...(entry.type === 'directory' ? { times: { atime, mtime } } : {}),
    }
  }

  /** The modification time, adapted to what the image can store; deviations are reported. */
  #timeOf({ path, mtime }: TarEntry): Timestamp {
    if (!mtime) this.#problems.add(path, 'invalid modification time; the current time is used')
    else if (!fitsTime(mtime, this.#volume.features.has('bigtime')))
      this.#problems.add(path, 'the image cannot store its modification time; the nearest one is used')
    return mtime ?? this.#volume.now()
  }

  /** The directory of the last component; missing ones are created. @throws XfsError NOTDIR */
  #parent(parts: readonly Uint8Array[]): DirRef {
    const path = pathOf(parts)
    let dir = this.#top
    let end = 0
    for (const name of parts.slice(0, -1)) {
      end += 1 + name.length
      const next = this.#merge.enter(dir, name) ?? this.#make(dir, name, path.subarray(0, end))
      if (!next || this.#writer.failed(next)) throw new XfsError('NOENT', 'its directory could not be created')
      dir = next
    }
    return dir
  }

  /** A directory without an entry in the archive. */
  #make(dir: DirRef, name: Uint8Array, fullPath: Uint8Array): DirRef | undefined {
    const now = this.#volume.now()
    const { uid, gid, permissions } = this.#options.mapping.apply(fullPath, {
      uid: 0, gid: 0, permissions: 0o755, isDirectory: true, isLink: false,
    }) // biome-ignore format: one line
    const path = fullPath.subarray(1)
    return this.#merge.put(dir, { name, mode: FILE_TYPES.dir | permissions, uid, gid, atime: now, mtime: now, path })
  }

  /** A hard link, to the file at its path when the link is read. */
  #link(entry: TarEntry, parts: readonly Uint8Array[], name: Uint8Array): void {
    const targetParts = splitPath(entry.target ?? new Uint8Array(0))
    if (targetParts.some(isUp)) throw new XfsError('INVAL', 'a hard link to a path with ".." in it')
    const found = this.#find(targetParts)
    if (!found)
      throw new XfsError('NOENT', `a hard link to ${latin1(pathOf(targetParts).subarray(1))}, which does not exist`)
    if (found.isDirectory) throw new XfsError('ISDIR', 'a hard link to a directory')
    this.#merge.put(this.#parent(parts), { name, link: found.file, path: entry.path }, { anyType: true })
  }

  /** The file at this path, without creating directories. */
  #find(parts: readonly Uint8Array[]): Found | undefined {
    let dir: DirRef | undefined = this.#top
    for (const part of parts.slice(0, -1)) dir = dir && this.#merge.enter(dir, part)
    const name = parts.at(-1)
    if (!name) return { file: this.#top, isDirectory: true }
    return dir && this.#merge.find(dir, name)
  }

  #small(entry: TarEntry, dir: DirRef): NewContent {
    const { blocksize } = this.#volume.geometry
    const size = Number(entry.size)
    const blocks = Math.ceil(size / blocksize)
    if (blocks === 0) return { size: 0, runs: [] }
    const { bytes, at } = this.#writer.room(dir, blocks)
    bytes.fill(0, entry.sparse ? 0 : size)
    for (const piece of entry.content()) bytes.set(piece.bytes, Number(piece.offset))
    const holes = entry.sparse || this.#options.sparse
    return holes
      ? withoutZeros(bytes, size, blocks, at, blocksize)
      : { size, runs: [{ startoff: 0, blockcount: blocks, at }] }
  }
}

const isUp = (part: Uint8Array): boolean => part.length === 2 && part[0] === 0x2e && part[1] === 0x2e
/** Bytes of an absolute path. */
const pathOf = (parts: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat(parts.flatMap((part) => [Uint8Array.of(0x2f), part]))

/** The content of the archive, which can be read only once, in order. */
function contentOf(entry: TarEntry, problems: CopyProblems): LargeContent {
  const pieces = entry.content()
  let current = pieces.next()
  return {
    size: entry.size,
    dense: !entry.sparse,
    *runs() {
      while (!current.done) yield { offset: current.value.offset, length: subtract(entry.size, current.value.offset) }
    },
    read(into, offset) {
      let have = 0
      while (have < into.length && !current.done && current.value.offset === add(offset, have)) {
        const { bytes } = current.value
        const part = bytes.subarray(0, into.length - have)
        into.set(part, have)
        have += part.length
        current =
          part.length < bytes.length
            ? { done: false, value: { offset: add(offset, have), bytes: bytes.subarray(part.length) } }
            : pieces.next()
      }
      return have
    },
    close(complete) {
      if (complete && !current.done) problems.add(entry.path, 'was not read to its end')
    },
  }
}
