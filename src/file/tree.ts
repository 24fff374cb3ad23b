import { XfsError } from '../errors.ts'
import type { Volume } from '../volume.ts'
import { entries } from './dir.ts'
import { type Inode, openInode } from './inode.ts'

/** A file met on the way through a tree. */
export interface Visit {
  /** From the start of the walk, without a leading slash; empty for the start itself. */
  readonly path: Uint8Array
  readonly depth: number
  readonly inode: Inode
  /** The last of its directory's entries (for drawing). */
  readonly last: boolean
}

export interface WalkOptions {
  /** Directories this deep are not entered (0: only the start). */
  readonly maxDepth?: number
  /** Entries in the order of their names, not of the directory. */
  readonly sorted?: boolean
  /** Entries whose inode cannot be read are told here and left out; without it the error is thrown. */
  readonly onError?: (path: Uint8Array, error: XfsError) => void
}

const SLASH = 0x2f

/**
 * A directory tree, each directory before what is in it. On a damaged image a directory may be entered only once, so that no loop of entries
 * leads on for ever.
 * @throws XfsError CORRUPT and the like, where no `onError` takes them
 */
export function* walkTree(start: Inode, options: WalkOptions = {}): Generator<Visit> {
  const seen = new Set<number>([start.ino])
  yield { path: new Uint8Array(0), depth: 0, inode: start, last: true }
  if (start.isDirectory && options.maxDepth !== 0)
    yield* walkInside(start.volume, start, new Uint8Array(0), 1, seen, options)
}

function* walkInside(
  volume: Volume,
  root: Inode,
  rootPath: Uint8Array,
  rootDepth: number,
  seen: Set<number>,
  options: WalkOptions,
): Generator<Visit> {
  // A stack of its own: trees may be deeper than the call stack.
  const stack = [{ path: rootPath, depth: rootDepth, children: childrenOf(root, rootPath, options) }]
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const next = top.children.next()
    if (next.done) {
      stack.pop()
      continue
    }
    const { path, ino, last } = next.value
    const inode = guarded(() => openInode(volume, ino), path, options)
    if (!inode) continue
    yield { path, depth: top.depth, inode, last }
    if (!inode.isDirectory || top.depth >= (options.maxDepth ?? Number.POSITIVE_INFINITY)) continue
    if (seen.has(inode.ino)) {
      guarded(
        () => {
          throw new XfsError('CORRUPT', `inode ${inode.ino}: a directory that is in two places`, { ino: inode.ino })
        },
        path,
        options,
      )
      continue
    }
    seen.add(inode.ino)
    stack.push({ path, depth: top.depth + 1, children: childrenOf(inode, path, options) })
  }
}

interface Child {
  readonly path: Uint8Array
  readonly ino: number
  readonly last: boolean
}

function* childrenOf(dir: Inode, path: Uint8Array, options: WalkOptions): Generator<Child> {
  const list = guarded(
    () => {
      const all = [...entries(dir)].map(({ name, ino }) => ({ name: name.slice(), ino }))
      return options.sorted ? all.sort((a, b) => Buffer.compare(a.name, b.name)) : all
    },
    path,
    options,
  )
  if (!list) return
  for (const [i, { name, ino }] of list.entries()) {
    yield { path: join(path, name), ino, last: i === list.length - 1 }
  }
}

function guarded<T>(action: () => T, path: Uint8Array, { onError }: WalkOptions): T | undefined {
  if (!onError) return action()
  try {
    return action()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    onError(path, error)
    return undefined
  }
}

function join(path: Uint8Array, name: Uint8Array): Uint8Array {
  if (path.length === 0) return name
  const joined = new Uint8Array(path.length + 1 + name.length)
  joined.set(path)
  joined[path.length] = SLASH
  joined.set(name, path.length + 1)
  return joined
}
