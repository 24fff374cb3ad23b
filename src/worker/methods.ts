import { constants } from 'node:fs'
import { describe } from '../check/findings.ts'
import { problemOf } from '../check/problems.ts'
import type { CheckResult } from '../check/result.ts'
import { XfsError } from '../errors.ts'
import type { PathLike } from '../namespace/namespace.ts'
import { add, type Bytes } from '../util/bytes.ts'
import { pathBytes } from '../util/printable.ts'
import type { FileRef, XfsFile } from '../xfsimage/file.ts'
import type { StatData, Stats, TimeLike } from '../xfsimage/stats.ts'
import type { XfsImage } from '../xfsimage/xfsimage.ts'
import type { Descriptor } from './protocol.ts'

/**
 * What the worker does for each method of the promise form: the table that declares them. Paths are
 * text or bytes; results are plain data, contents are bytes. The other side (client.ts) gives them
 * Node's form.
 */

/** An open file: what `open` of Node returns the number of. */
interface OpenFile {
  readonly file: XfsFile
  readonly read: boolean
  readonly write: boolean
  readonly append: boolean
  position: number
}

/** The worker's image and its open files. */
export interface State {
  readonly image: XfsImage
  readonly files: Map<number, OpenFile>
}

type Ref = PathLike | Descriptor
type Flags = string | number

const textFlags: Readonly<Record<string, number>> = {
  r: constants.O_RDONLY,
  'r+': constants.O_RDWR,
  w: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC,
  'w+': constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC,
  a: constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND,
  'a+': constants.O_RDWR | constants.O_CREAT | constants.O_APPEND,
}

/** Flags as Node takes them; `s` (synchronous) is without effect. */
function flagBits(flags: Flags): number {
  if (typeof flags === 'number') return flags
  const plain = flags.replace(/[xs]/g, '')
  const bits = textFlags[plain]
  if (bits === undefined) throw new XfsError('INVAL', `unknown flags ${flags}`)
  return flags.includes('x') ? bits | constants.O_EXCL : bits
}

const has = (bits: number, flag: number): boolean => (bits & flag) !== 0

const isDescriptor = (ref: unknown): ref is Descriptor => typeof ref === 'object' && ref !== null && 'fd' in ref

function opened({ files }: State, { fd }: Descriptor): OpenFile {
  const found = files.get(fd)
  if (!found) throw new XfsError('INVAL', `file descriptor ${fd} is not open`)
  return found
}

const refOf = (state: State, ref: Ref): FileRef => (isDescriptor(ref) ? opened(state, ref).file : ref)

/** A directory entry as data. @param path of its directory */
interface EntryData {
  readonly name: Uint8Array
  readonly path: Uint8Array
  readonly mode: number
  readonly ino: number
}

const SLASH = Uint8Array.of(0x2f)
const join = (path: Uint8Array, name: Uint8Array): Uint8Array =>
  path.length === 0 ? name : path.at(-1) === 0x2f ? Buffer.concat([path, name]) : Buffer.concat([path, SLASH, name])

function* entriesBelow(image: XfsImage, path: Uint8Array, recursive: boolean): Generator<EntryData> {
  const queue = [path]
  for (let dir = queue.shift(); dir; dir = queue.shift()) {
    for (const entry of image.readdir(dir, { encoding: 'buffer', withFileTypes: true })) {
      const { name, ino, mode } = entry
      yield { name, path: dir, ino, mode }
      if (recursive && entry.isDirectory()) queue.push(join(dir, name))
    }
  }
}

const dataOf = ({ mode, blksize, xfs }: Stats): StatData => ({ mode, blksize, xfs })

/** The path of a file without symbolic links. */
function realPath(image: XfsImage, path: PathLike): Uint8Array {
  const left = parts(pathBytes(path)).reverse()
  const real: Uint8Array[] = []
  const at = (): Uint8Array => Buffer.concat([SLASH, ...real.flatMap((name, i) => (i === 0 ? [name] : [SLASH, name]))])
  for (let links = 0; left.length > 0; ) {
    const name = left.pop() as Uint8Array
    if (sameText(name, '.')) continue
    if (sameText(name, '..')) {
      real.pop()
      continue
    }
    real.push(name)
    const stat = image.lstat(at())
    if (!stat.isSymbolicLink()) {
      if (left.length > 0 && !stat.isDirectory()) throw new XfsError('NOTDIR', 'not a directory')
      continue
    }
    if (++links > MAX_LINKS) throw new XfsError('LOOP', `more than ${MAX_LINKS} symbolic links`)
    const target = image.readlink(at(), { encoding: 'buffer' })
    if (target[0] === 0x2f) real.length = 0
    else real.pop()
    left.push(...parts(target).reverse())
  }
  return at()
}

const MAX_LINKS = 40
const sameText = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).equals(Buffer.from(text))

function parts(path: Uint8Array): Uint8Array[] {
  const all: Uint8Array[] = []
  for (let start = 0; start <= path.length; ) {
    const slash = path.indexOf(0x2f, start)
    const end = slash < 0 ? path.length : slash
    if (end > start) all.push(path.subarray(start, end))
    start = end + 1
  }
  return all
}

/** What a check found, as data. */
const report = ({ findings }: CheckResult) => ({
  total: findings.total,
  findings: findings.list.map((finding) => ({
    id: finding.id,
    message: describe(finding),
    harmless: problemOf(finding.id).note === true,
    facts: finding.facts,
  })),
  omitted: Object.fromEntries(findings.omitted),
})

let lastFd = 2

export interface NodeWriteOptions {
  readonly mode?: number
  readonly flag?: Flags
}

function writeTo(state: State, ref: Ref, bytes: Uint8Array, { mode = 0o644, flag = 'w' }: NodeWriteOptions = {}): void {
  const { image } = state
  if (isDescriptor(ref)) {
    const open = opened(state, ref)
    writeAt(image, open, bytes, null)
    return
  }
  const bits = flagBits(flag)
  if (!has(bits, constants.O_WRONLY | constants.O_RDWR)) throw new XfsError('INVAL', `the flag ${flag} is for reading`)
  const exclusive = has(bits, constants.O_EXCL)
  const creates = has(bits, constants.O_CREAT)
  const append = has(bits, constants.O_APPEND)
  const keeps = !append && !has(bits, constants.O_TRUNC)
  if (!creates || ((append || keeps) && !exclusive && image.exists(ref))) {
    // Into what is there.
    const offset = append ? image.stat(ref).xfs.size : 0
    if (!append && !keeps) image.truncate(ref)
    image.writeFile(ref, bytes, { flag: 'r+', offset })
  } else image.writeFile(ref, bytes, { mode, flag: exclusive ? 'wx' : 'w' })
}

function writeAt(image: XfsImage, open: OpenFile, bytes: Uint8Array, position: number | null): number {
  if (!open.write) throw new XfsError('PERM', 'the file was opened for reading')
  const at = open.append ? image.stat(open.file).size : (position ?? open.position)
  image.writeFile(open.file, bytes, { flag: 'r+', offset: at })
  if (position === null || open.append) open.position = at + bytes.length
  return bytes.length
}

export const methods = {
  // ------------------------------------------------------------------------------ Node's own form
  access({ image }: State, path: PathLike, mode: number = constants.F_OK): void {
    image.stat(path)
    if (has(mode, constants.W_OK) && !image.writable) throw new XfsError('ROFS', 'the image was opened for reading')
  },
  appendFile: (state: State, ref: Ref, bytes: Uint8Array, options: NodeWriteOptions = {}): void =>
    writeTo(state, ref, bytes, { flag: 'a', ...options }),
  chmod: (state: State, ref: Ref, mode: number): void => state.image.chmod(refOf(state, ref), mode),
  chown: (state: State, ref: Ref, uid: number, gid: number): void => state.image.chown(refOf(state, ref), uid, gid),
  async copyFile({ image }: State, src: PathLike, dst: PathLike, mode = 0): Promise<void> {
    const from = image.stat(src)
    const there = image.exists(dst) ? image.stat(dst) : undefined
    if (there && has(mode, constants.COPYFILE_EXCL)) throw new XfsError('EXIST', 'the destination exists')
    if (there?.ino === from.ino) return
    if (there) image.truncate(dst)
    // Without blocks there is nothing to share.
    if (image.geometry.features.has('reflink') && from.size > 0) await image.reflink(src, dst)
    else if (has(mode, constants.COPYFILE_FICLONE_FORCE)) throw new XfsError('UNSUPPORTED', 'the image has no reflink')
    else await image.writeFrom(dst, contentOf(image, src))
    image.chmod(dst, from.mode & 0o7777)
  },
  lchown: ({ image }: State, path: PathLike, uid: number, gid: number): void => image.lchown(path, uid, gid),
  link: ({ image }: State, existing: PathLike, path: PathLike): void => image.link(existing, path),
  lstat: ({ image }: State, path: PathLike): StatData => dataOf(image.lstat(path)),
  lutimes: ({ image }: State, path: PathLike, atime: TimeLike, mtime: TimeLike): void =>
    image.lutimes(path, atime, mtime),
  mkdir: (
    { image }: State,
    path: PathLike,
    options: number | { readonly mode?: number; readonly recursive?: boolean } = {},
  ): string | undefined => image.mkdir(path, typeof options === 'number' ? { mode: options } : options),
  mkdtemp({ image }: State, prefix: PathLike): Uint8Array {
    for (;;) {
      const random = Math.random().toString(36).slice(2, 8).padEnd(6, 'x')
      const path = Buffer.concat([pathBytes(prefix), Buffer.from(random)])
      try {
        image.mkdir(path, { mode: 0o700 })
        return path
      } catch (error) {
        if (!(error instanceof XfsError) || error.code !== 'EXIST') throw error
      }
    }
  },
  open(state: State, path: PathLike, flags: Flags = 'r', mode = 0o666): number {
    const { image, files } = state
    const bits = flagBits(flags)
    const write = has(bits, constants.O_WRONLY | constants.O_RDWR)
    if (write && !image.writable) throw new XfsError('ROFS', 'the image was opened for reading')
    const there = image.exists(path)
    if (there && has(bits, constants.O_CREAT) && has(bits, constants.O_EXCL))
      throw new XfsError('EXIST', 'the file exists')
    if (!there && has(bits, constants.O_CREAT)) image.writeFile(path, '', { mode, flag: 'wx' })
    const file = image.file(path)
    if (write && image.stat(file).isDirectory()) throw new XfsError('ISDIR', 'a directory')
    if (there && write && has(bits, constants.O_TRUNC)) image.truncate(file)
    files.set(++lastFd, {
      file, write, read: !has(bits, constants.O_WRONLY), append: has(bits, constants.O_APPEND), position: 0,
    }) // biome-ignore format: one line
    return lastFd
  },
  readFile(state: State, ref: Ref): Uint8Array {
    if (!isDescriptor(ref)) return state.image.readFile(ref)
    const open = opened(state, ref)
    const bytes = state.image.readFile(open.file, { offset: open.position })
    open.position += bytes.length
    return bytes
  },
  readdir: (
    { image }: State,
    path: PathLike,
    { recursive = false }: { readonly recursive?: boolean } = {},
  ): EntryData[] => [...entriesBelow(image, pathBytes(path), recursive)],
  readlink: ({ image }: State, path: PathLike): Uint8Array => image.readlink(path, { encoding: 'buffer' }),
  realpath: ({ image }: State, path: PathLike): Uint8Array => realPath(image, path),
  rename: ({ image }: State, from: PathLike, to: PathLike): void => image.rename(from, to),
  async rm(
    { image }: State,
    path: PathLike,
    { force = false, recursive = false }: { readonly force?: boolean; readonly recursive?: boolean } = {},
  ): Promise<void> {
    if (!recursive) return image.rm(path, { force })
    try {
      await image.removeTree(path)
    } catch (error) {
      if (!force || !(error instanceof XfsError) || error.code !== 'NOENT') throw error
    }
  },
  rmdir: ({ image }: State, path: PathLike): void => image.rmdir(path),
  stat: (state: State, ref: Ref): StatData => dataOf(state.image.stat(refOf(state, ref))),
  statfs: ({ image }: State, path: PathLike) => {
    image.stat(path)
    return image.statfs()
  },
  symlink: ({ image }: State, target: PathLike, path: PathLike): void => image.symlink(target, path),
  truncate: (state: State, ref: Ref, size = 0): void => state.image.truncate(refOf(state, ref), size),
  unlink: ({ image }: State, path: PathLike): void => image.unlink(path),
  utimes: (state: State, ref: Ref, atime: TimeLike, mtime: TimeLike): void =>
    state.image.utimes(refOf(state, ref), atime, mtime),
  writeFile: writeTo,

  // ------------------------------------------------------------------------------- files by number
  /** @param position  null: where the last call ended */
  read(state: State, ref: Descriptor, length: number, position: number | null): Uint8Array {
    const open = opened(state, ref)
    if (!open.read) throw new XfsError('PERM', 'the file was opened for writing')
    const bytes = state.image.readFile(open.file, { offset: position ?? open.position, length })
    if (position === null) open.position += bytes.length
    return bytes
  },
  write: (state: State, ref: Descriptor, bytes: Uint8Array, position: number | null): number =>
    writeAt(state.image, opened(state, ref), bytes, position),
  close(state: State, ref: Descriptor): void {
    opened(state, ref)
    state.files.delete(ref.fd)
  },

  // ------------------------------------------------------------------------------- of an XFS image
  sync: ({ image }: State): void => image.sync(),
  report: ({ image }: State, name?: string): string => image.report(name),
  mknod: (
    { image }: State,
    path: PathLike,
    mode: number,
    device?: { readonly major: number; readonly minor: number },
  ): void => image.mknod(path, mode, device),
  chattr: ({ image }: State, ...args: Parameters<XfsImage['chattr']>): void => image.chattr(...args),
  fallocate: ({ image }: State, ...args: Parameters<XfsImage['fallocate']>): void => image.fallocate(...args),
  listxattr: ({ image }: State, ...args: Parameters<XfsImage['xattr']['list']>) => image.xattr.list(...args),
  getxattr: ({ image }: State, ...args: Parameters<XfsImage['xattr']['get']>) => image.xattr.get(...args),
  setxattr: ({ image }: State, ...args: Parameters<XfsImage['xattr']['set']>) => image.xattr.set(...args),
  removexattr: ({ image }: State, ...args: Parameters<XfsImage['xattr']['remove']>) => image.xattr.remove(...args),
  exchange: ({ image }: State, a: PathLike, b: PathLike): void => image.rename(a, b, { existing: 'exchange' }),
  reflink: ({ image }: State, ...args: Parameters<XfsImage['reflink']>) => image.reflink(...args),
  dedupe: ({ image }: State, ...args: Parameters<XfsImage['dedupe']>) => image.dedupe(...args),
  unshare: ({ image }: State, ...args: Parameters<XfsImage['unshare']>) => image.unshare(...args),
  defragment: ({ image }: State, ...args: Parameters<XfsImage['defragment']>) => image.defragment(...args),
  extents: ({ image }: State, ...args: Parameters<XfsImage['extents']>) => [...image.extents(...args)],
  shares: ({ image }: State, ...args: Parameters<XfsImage['shares']>) => [...image.shares(...args)],
  owners: ({ image }: State, ...args: Parameters<XfsImage['owners']>) => [...image.owners(...args)],
  usage: ({ image }: State, ...args: Parameters<XfsImage['usage']>) => image.usage(...args),
  put: ({ image }: State, ...args: Parameters<XfsImage['put']>) => image.put(...args),
  get: ({ image }: State, ...args: Parameters<XfsImage['get']>) => image.get(...args),
  check: ({ image }: State) => report(image.check()),
  recover: ({ image }: State) => image.recover(),
  repair({ image }: State, options: Parameters<XfsImage['repair']>[0] = {}) {
    const { before, after, changed, declined } = image.repair(options)
    return { before: report(before), after: report(after), changed, declined }
  },
} satisfies Record<string, (state: State, ...args: never[]) => unknown>

export type Methods = typeof methods

/** The content in pieces, holes as zeros. */
function* contentOf(image: XfsImage, path: PathLike): Generator<Uint8Array> {
  const size: Bytes = image.stat(path).xfs.size
  for (let offset: Bytes = 0; offset < size; offset = add(offset, PIECE))
    yield image.readFile(path, { offset, length: PIECE })
}

const PIECE = 2 ** 20
