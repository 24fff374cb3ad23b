import { XfsError } from '../errors.ts'
import type { Ino } from '../format/geometry.ts'
import { withTransaction } from '../tx/transaction.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { entries } from './dir.ts'
import { type Inode, openInode } from './inode.ts'
import { printable } from './names.ts'
import { type PathLike, release, removeIn } from './namespace.ts'
import { resolve, resolveParent } from './path.ts'
import { finishRemoval } from './remove.ts'

/**
 * Removing whole trees: what is in a directory before the directory. Many names go in one transaction; where that cannot be, one at a time.
 */
interface Removal {
  readonly dir: number
  readonly name: Uint8Array
  readonly directory: boolean
}

/** Names that one transaction takes away. */
const STEP = 256

/**
 * Remove a file or a directory with all that is in it. Stops between two transactions leave a part of the tree.
 * @returns names removed
 * @throws XfsError NOENT, INVAL (the root), PERM, NOSPC, CORRUPT
 */
export function* removeTree(volume: Volume, path: PathLike): Steps<number> {
  const top = resolve(volume, path, { follow: false })
  if (top.ino === volume.geometry.sb.rootino) throw new XfsError('INVAL', 'the root directory cannot be removed')
  const { dir, name } = resolveParent(volume, path)
  let done = 0
  let pending: Removal[] = []
  for (const removal of postOrder(volume, { dir: dir.ino, name, directory: top.isDirectory }, top)) {
    pending.push(removal)
    if (pending.length < STEP) continue
    removeAll(volume, pending)
    done += pending.length
    pending = []
    yield { what: 'removing', done }
  }
  removeAll(volume, pending)
  return done + pending.length
}

/** Everything below `top`, and it last. Each directory is read whole when it is come to: what is removed meanwhile is behind. */
function* postOrder(volume: Volume, first: Removal, top: Inode): Generator<Removal> {
  interface Level {
    readonly self: Removal
    readonly ino: number
    readonly left: { readonly name: Uint8Array; readonly ino: number }[]
  }
  const seen = new Set<number>()
  const enter = (self: Removal, dir: Inode): Level => {
    if (seen.has(dir.ino)) throw new XfsError('CORRUPT', `directory ${dir.ino} is in two places`, { ino: dir.ino })
    seen.add(dir.ino)
    return { self, ino: dir.ino, left: Array.from(entries(dir), ({ name, ino }) => ({ name, ino })).reverse() }
  }
  if (!top.isDirectory) {
    yield first
    return
  }
  const stack = [enter(first, top)]
  for (let level = stack.at(-1); level; level = stack.at(-1)) {
    const next = level.left.pop()
    if (!next) {
      stack.pop()
      yield level.self
      continue
    }
    const child = openInode(volume, next.ino)
    const removal = { dir: level.ino, name: next.name, directory: child.isDirectory }
    if (child.isDirectory) stack.push(enter(removal, child))
    else yield removal
  }
}

function removeAll(volume: Volume, removals: readonly Removal[]): void {
  if (removals.length === 0) return
  let left: Ino[]
  try {
    left = remove(volume, removals, false)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    // One at a time: as far as it goes, and where a large directory's map has no room for holes, without giving its blocks back.
    left = removals.flatMap((removal) => {
      try {
        return remove(volume, [removal], false)
      } catch (single) {
        if (!(single instanceof XfsError)) throw single
        if (single.code === 'NOSPC') return remove(volume, [removal], true)
        throw new XfsError(single.code, `"${printable(removal.name)}": ${single.message}`, single.where, {
          cause: single,
        })
      }
    })
  }
  for (const ino of left) finishRemoval(volume, ino)
}

/** @returns inodes that are still to be freed */
function remove(volume: Volume, removals: readonly Removal[], keepBlocks: boolean): Ino[] {
  return withTransaction(volume, (tx) =>
    removals.flatMap(({ dir, name, directory }) => {
      const left = release(tx, removeIn(tx, openInode(volume, dir, tx), name, directory, { keepBlocks }))
      return left === undefined ? [] : [left]
    }),
  )
}
