import { compareBytes } from '#native'
import { entries } from '../dir/dir.ts'
import type { Entry } from '../dir/read.ts'
import { XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'

/** A file reached in a walk of a tree. */
export interface Visit {
  /** From the start of the walk, without a leading slash; empty for the start itself. */
  readonly path: Uint8Array
  readonly depth: number
  readonly inode: Inode
  /** True for the last entry of its directory (for drawing). */
  readonly last: boolean
}

interface TreeWalkOptions {
  /** Do not enter directories at this depth (0: only the start). */
  readonly maxDepth?: number
  /** Entries in the order of their names, not of the directory. */
  readonly sorted?: boolean
  /**
   * Called for entries whose inode cannot be read, which are then skipped. Without it the error is
   * thrown.
   */
  readonly onError?: (path: Uint8Array, error: XfsError) => void
}

const SLASH = 0x2f

/**
 * A walk of a directory tree, each directory before its contents. A directory is entered only once,
 * so that a loop of entries in a damaged image ends. Memory use depends on the depth and the sizes
 * of directories, not on the lengths of paths.
 * @throws XfsError CORRUPT and others, if there is no `onError`
 */
export function* walkTree(start: Inode, options: TreeWalkOptions = {}): Generator<Visit> {
  const { volume } = start
  const { maxDepth = Number.POSITIVE_INFINITY } = options
  const seen = new Set<number>([start.ino])
  const top = new Uint8Array(0)
  yield { path: top, depth: 0, inode: start, last: true }
  if (!start.isDirectory || maxDepth === 0) return
  const current = new PathBuffer()
  // An explicit stack: trees may be deeper than the call stack.
  const stack: VisitedDirectory[] = [{ length: 0, next: 0, children: childrenOf(start, top, options) }]
  for (let level = stack.at(-1); level; level = stack.at(-1)) {
    const child = level.children[level.next++]
    if (!child) {
      stack.pop()
      continue
    }
    const depth = stack.length
    const path = current.below(level.length, child.name)
    const inode = guarded(() => openInode(volume, child.ino), path, options)
    if (!inode) continue
    yield { path, depth, inode, last: level.next === level.children.length }
    if (!inode.isDirectory || depth >= maxDepth) continue
    if (!guarded(() => enterOnce(seen, inode.ino), path, options)) continue
    stack.push({ length: path.length, next: 0, children: childrenOf(inode, path, options) })
  }
}

/** A directory on the current path. */
interface VisitedDirectory {
  /** Bytes of its path, the prefix of the paths below it. */
  readonly length: number
  readonly children: readonly NameAndInode[]
  next: number
}

type NameAndInode = Pick<Entry, 'name' | 'ino'>

/** The current path; its prefixes are the paths of the directories on it. */
class PathBuffer {
  #bytes = new Uint8Array(256)

  /** The path of `name` in the directory whose path is the first `length` bytes. */
  below(length: number, name: Uint8Array): Uint8Array {
    const start = length === 0 ? 0 : length + 1
    const end = start + name.length
    if (end > this.#bytes.length) {
      const more = new Uint8Array(2 * end)
      more.set(this.#bytes)
      this.#bytes = more
    }
    if (length > 0) this.#bytes[length] = SLASH
    this.#bytes.set(name, start)
    return this.#bytes.slice(0, end)
  }
}

/** @throws XfsError CORRUPT */
function enterOnce(seen: Set<number>, ino: number): true {
  if (seen.has(ino)) throw new XfsError('CORRUPT', `inode ${ino}: the directory is in two places`, { ino })
  seen.add(ino)
  return true
}

/** Entries whose inode can be read. */
function childrenOf(dir: Inode, path: Uint8Array, options: TreeWalkOptions): readonly NameAndInode[] {
  const found: NameAndInode[] = []
  const read = (): void => {
    for (const { name, ino } of entries(dir)) found.push({ name, ino })
  }
  guarded(read, path, options)
  return options.sorted ? found.sort((a, b) => compareBytes(a.name, b.name)) : found
}

function guarded<T>(action: () => T, path: Uint8Array, { onError }: TreeWalkOptions): T | undefined {
  if (!onError) return action()
  try {
    return action()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    onError(path, error)
    return undefined
  }
}
