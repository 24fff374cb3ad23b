import { lookup, parentOf } from '../dir/read.ts'
import { XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { readSymlink } from '../symlink.ts'
import { pathBytes, printable } from '../util/printable.ts'
import type { BlockReader, Volume } from '../volume.ts'

/**
 * Path lookup, as in the kernel: bytes between slashes, "." and "..", symbolic links (an absolute
 * target begins at the root of the image). ".." of the root is the root.
 */

/** Maximum number of symbolic links followed in one path. */
const MAX_LINKS = 40
/** Maximum length of a path, in bytes, with all link targets expanded. */
export const MAX_PATH = 4096

const SLASH = 0x2f

interface ResolveOptions {
  /** Follow a symbolic link at the end of the path (in the middle they are always followed). */
  readonly follow: boolean
  /** The start of a relative path (default: the root). */
  readonly from?: Inode
  readonly reader?: BlockReader
}

/** The root directory. */
export const rootDirectory = (volume: Volume, reader: BlockReader = volume): Inode =>
  openInode(volume, volume.geometry.sb.rootino, reader)

/** The components of a path, without empty ones and ".". */
export function splitPath(path: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let start = 0; start <= path.length; ) {
    let end = path.indexOf(SLASH, start)
    if (end < 0) end = path.length
    const part = path.subarray(start, end)
    if (part.length > 0 && !(part.length === 1 && part[0] === 0x2e)) parts.push(part)
    start = end + 1
  }
  return parts
}

const isDotDot = (name: Uint8Array): boolean => name.length === 2 && name[0] === 0x2e && name[1] === 0x2e

/**
 * The inode at a path.
 * @throws XfsError NOENT, NOTDIR, LOOP, NAMETOOLONG, INVAL (a zero byte), CORRUPT
 */
export function resolve(volume: Volume, path: string | Uint8Array, options: ResolveOptions = { follow: true }): Inode {
  const reader = options.reader ?? volume
  const bytes = pathBytes(path)
  const where = { path: printable(path) }
  if (bytes.length > MAX_PATH)
    throw new XfsError('NAMETOOLONG', `path of ${bytes.length} bytes exceeds maximum ${MAX_PATH}`, where)
  if (bytes.includes(0)) throw new XfsError('INVAL', `${printable(path)}: the path contains a zero byte`, where)
  const open = (ino: number): Inode => openLinked(volume, ino, where.path, reader)
  let inode = bytes[0] === SLASH || !options.from ? rootDirectory(volume, reader) : options.from
  const mustBeDirectory = bytes.at(-1) === SLASH
  // The remaining components, the next one last.
  const left = splitPath(bytes).reverse()
  for (let links = 0; left.length > 0; ) {
    const name = left.pop() as Uint8Array
    if (!inode.isDirectory)
      throw new XfsError('NOTDIR', `${where.path}: not a directory before "${printable(name)}"`, where)
    if (isDotDot(name)) {
      if (inode.ino !== volume.geometry.sb.rootino) inode = open(parentOf(inode, reader))
      continue
    }
    if (name.length > 255)
      throw new XfsError('NAMETOOLONG', `${where.path}: name of ${name.length} bytes exceeds maximum 255`, where)
    const entry = lookup(inode, name, reader)
    if (!entry) throw new XfsError('NOENT', `${where.path}: no such file or directory`, where)
    const next = open(entry.ino)
    if (!next.isSymlink || (left.length === 0 && !options.follow && !mustBeDirectory)) {
      inode = next
      continue
    }
    links++
    if (links > MAX_LINKS) throw new XfsError('LOOP', `${where.path}: more than ${MAX_LINKS} symbolic links`, where)
    const target = readSymlink(next, reader)
    left.push(...splitPath(target).reverse())
    if (left.reduce((sum, part) => sum + part.length + 1, 0) > MAX_PATH * 2)
      throw new XfsError('NAMETOOLONG', `${where.path}: too long after following symbolic links`, where)
    if (target[0] === SLASH) inode = rootDirectory(volume, reader)
  }
  if (mustBeDirectory && !inode.isDirectory) throw new XfsError('NOTDIR', `${where.path}: not a directory`, where)
  return inode
}

/** The same; undefined if there is no such file. @throws XfsError as `resolve`, but not NOENT */
export function resolveExisting(
  volume: Volume,
  path: string | Uint8Array,
  options?: ResolveOptions,
): Inode | undefined {
  try {
    return resolve(volume, path, options)
  } catch (error) {
    if (error instanceof XfsError && error.code === 'NOENT') return undefined
    throw error
  }
}

/**
 * Where a file is created that is opened by `path` and does not exist: symbolic links at the end
 * that lead nowhere are followed, as open(2) with O_CREAT does. @throws XfsError as `resolve`
 */
export function creationPath(volume: Volume, path: string | Uint8Array): Uint8Array {
  let place = pathBytes(path)
  for (let links = 0; links <= MAX_LINKS; links++) {
    const { head, name } = splitLast(place)
    const plain = place.subarray(0, head.length + name.length)
    const inode = name.length > 0 ? resolveExisting(volume, plain, { follow: false }) : undefined
    if (!inode?.isSymlink) return place
    const target = readSymlink(inode)
    place = target[0] === SLASH ? target : joined(head, target)
  }
  throw new XfsError('LOOP', `${printable(path)}: more than ${MAX_LINKS} symbolic links`, { path: printable(path) })
}

function joined(head: Uint8Array, tail: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(head.length + tail.length)
  bytes.set(head)
  bytes.set(tail, head.length)
  return bytes
}

/** The inode that an entry points to. It must exist. */
function openLinked(volume: Volume, ino: number, path: string, reader: BlockReader): Inode {
  try {
    return openInode(volume, ino, reader)
  } catch (error) {
    if (!(error instanceof XfsError) || (error.code !== 'NOENT' && error.code !== 'INVAL')) throw error
    throw new XfsError(
      'CORRUPT',
      `${path}: its entry points to inode ${ino}, which is not in use`,
      { ino, path },
      { cause: error },
    )
  }
}

/** The directory of a path's last component, and that component (which need not exist). */
export function resolveParent(
  volume: Volume,
  path: string | Uint8Array,
  options: Omit<ResolveOptions, 'follow'> = {},
): { dir: Inode; name: Uint8Array } {
  const { head, name } = splitLast(pathBytes(path))
  if (name.length === 0)
    throw new XfsError('INVAL', `${printable(path)}: the path has no last component`, { path: printable(path) })
  const dir = resolve(volume, head, { ...options, follow: true })
  if (!dir.isDirectory) throw new XfsError('NOTDIR', `${printable(head)}: not a directory`, { path: printable(head) })
  return { dir, name }
}

/** The last component, without slashes, and what is before it. */
function splitLast(path: Uint8Array): { head: Uint8Array; name: Uint8Array } {
  let end = path.length
  while (end > 0 && path[end - 1] === SLASH) end--
  const start = end === 0 ? 0 : path.lastIndexOf(SLASH, end - 1) + 1
  return { head: path.subarray(0, start), name: path.subarray(start, end) }
}
