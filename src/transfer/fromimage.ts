import { type Xattr, xattrs } from '../attr/xattrs.ts'
import { entries } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES } from '../format/dinode.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { MAX_PATH } from '../namespace/resolve.ts'
import { MAX_FILE_SIZE } from '../util/bytes.ts'
import { below, checkOutgoing } from './names.ts'

/** A file of an image that is copied. */
export interface Outgoing {
  readonly inode: Inode
  /** Path relative to the start of the walk, empty for the start. */
  readonly path: Uint8Array
  /** A hard link to the earlier file at this path. */
  readonly linkTo?: Uint8Array
}

/** Callbacks for directories. */
interface CopyStep {
  readonly kind: 'file' | 'enter' | 'leave'
  readonly file: Outgoing
}

/**
 * A tree of an image, for copying: `enter` and `leave` of a directory enclose its contents. Names
 * are verified: none escapes its directory. A file with several names comes once complete, then as
 * links. Files that cannot be read, or whose path is too long, are reported and skipped.
 *
 * `next(true)` means that the file was not created: the contents of a directory are skipped, and no
 * links to the file follow.
 */
export function* outgoing(
  top: Inode,
  onProblem: (path: Uint8Array, error: XfsError) => void,
): Generator<CopyStep, void, boolean | undefined> {
  const { volume } = top
  const linked = new Map<number, Uint8Array>()
  const seen = new Set<number>([top.ino])
  const first: Outgoing = { inode: top, path: new Uint8Array(0) }
  if (!top.isDirectory) {
    yield { kind: 'file', file: first }
    return
  }
  interface VisitedDirectory {
    readonly file: Outgoing
    readonly left: { readonly name: Uint8Array; readonly ino: number }[]
  }
  const enter = (file: Outgoing): VisitedDirectory => {
    const found: VisitedDirectory['left'] = []
    try {
      for (const { name, ino } of entries(file.inode)) found.push({ name, ino })
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      onProblem(file.path, error)
    }
    return { file, left: found.reverse() }
  }
  if (yield { kind: 'enter', file: first }) return
  const stack = [enter(first)]
  for (let level = stack.at(-1); level; level = stack.at(-1)) {
    const next = level.left.pop()
    if (!next) {
      stack.pop()
      yield { kind: 'leave', file: level.file }
      continue
    }
    const path = level.file.path.length === 0 ? next.name : below(level.file.path, next.name)
    try {
      checkOutgoing(next.name)
      if (path.length > MAX_PATH)
        throw new XfsError('NAMETOOLONG', `a path of ${path.length} bytes; at most ${MAX_PATH} can be used`)
      const inode = openInode(volume, next.ino)
      if (!inode.isDirectory) {
        const linkTo = inode.nlink > 1 ? linked.get(inode.ino) : undefined
        const left = yield { kind: 'file', file: { inode, path, ...(linkTo ? { linkTo } : {}) } }
        if (inode.nlink > 1 && !linkTo && !left) linked.set(inode.ino, path)
        continue
      }
      if (seen.has(inode.ino))
        throw new XfsError('CORRUPT', `directory ${inode.ino} is in two places`, { ino: inode.ino })
      seen.add(inode.ino)
      const file = { inode, path }
      if (!(yield { kind: 'enter', file })) stack.push(enter(file))
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      onProblem(path, error)
    }
  }
}

/**
 * The attributes to copy: all, except those of the root directory that are properties of the
 * filesystem.
 * @throws XfsError CORRUPT
 */
export function* outgoingXattrs(inode: Inode): Generator<Xattr> {
  const isRoot = inode.ino === inode.volume.geometry.sb.rootino
  for (const xattr of xattrs(inode)) if (!isRoot || !isProperty(xattr.name)) yield xattr
}

/** As xfs_property keeps them: `trusted.xfs:autofsck`. */
const isProperty = (name: Uint8Array): boolean => Buffer.from(name).toString('latin1').startsWith('trusted.xfs:')

/** No file can be larger: the image is damaged. @throws XfsError FBIG */
export function requireCopyable({ size }: Inode): void {
  if (size > MAX_FILE_SIZE) throw new XfsError('FBIG', `a file of more than ${MAX_FILE_SIZE} bytes`)
}

export const isDevice = ({ type }: Inode): boolean => type === FILE_TYPES.blk || type === FILE_TYPES.chr
