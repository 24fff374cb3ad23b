import { entries, parentOf } from '../dir/dir.ts'
import { XfsError } from '../errors.ts'
import type { Ino } from '../format/geometry.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { asMuchAsFits, withTransaction } from '../tx/transaction.ts'
import { printable } from '../util/printable.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { type PathLike, release, removeIn } from './namespace.ts'
import { finishRemoval } from './remove.ts'
import { resolve, resolveParent } from './resolve.ts'

/**
 * Removing trees: the contents of a directory before the directory. Many names are removed in one
 * transaction; if that is not possible, one at a time. The complete tree is read before the first
 * name is removed: a damaged tree is not changed.
 */
interface Removal {
  readonly dir: number
  readonly name: Uint8Array
  readonly directory: boolean
  /** Of the directory itself; undefined for the top. */
  readonly parent?: Removal
}

const SLASH = 0x2f
/** Maximum names that one transaction removes. */
const STEP = 256
/** Names that are read between two progress reports. */
const LOOK = 4096

/**
 * Remove a file, or a directory with all of its contents. If it is ended between two transactions,
 * a part of the tree remains.
 * @param onRemove  called for each name that was removed, with its path from the top; that of the
 *   top is empty
 * @returns names removed
 * @throws XfsError NOENT, INVAL (the root), PERM, NOSPC; CORRUPT (a directory that is in two
 *   places; nothing is removed)
 */
export function* removeTree(volume: Volume, path: PathLike, onRemove?: (path: Uint8Array) => void): Steps<number> {
  const top = resolve(volume, path, { follow: false })
  if (top.ino === volume.geometry.sb.rootino) throw new XfsError('INVAL', 'the root directory cannot be removed')
  const { dir, name } = resolveParent(volume, path)
  const first = { dir: dir.ino, name, directory: top.isDirectory }
  let total = 0
  for (const _ of postOrder(volume, first, top)) if (++total % LOOK === 0) yield { what: 'reading', done: total }
  let done = 0
  let pending: Removal[] = []
  const removePending = (): void => {
    removeAll(volume, pending)
    if (onRemove) for (const removal of pending) onRemove(pathOf(removal))
    done += pending.length
    pending = []
  }
  for (const removal of postOrder(volume, first, top)) {
    pending.push(removal)
    if (pending.length < STEP) continue
    removePending()
    yield { what: 'removing', done, total }
  }
  removePending()
  return done
}

/** From the top. */
function pathOf(removal: Removal): Uint8Array {
  const names: Uint8Array[] = []
  for (let at = removal; at.parent; at = at.parent) names.push(at.name)
  const path = new Uint8Array(names.reduce((length, name) => length + name.length, Math.max(0, names.length - 1)))
  let at = 0
  for (const name of names.reverse()) {
    if (at > 0) path[at++] = SLASH
    path.set(name, at)
    at += name.length
  }
  return path
}

/**
 * All entries below `top`, and `top` last. Each directory is read completely when it is reached, so
 * later removals do not affect the walk.
 * @throws XfsError CORRUPT if an entry points to a directory that is elsewhere: its contents are
 *   not below `top`
 */
function* postOrder(volume: Volume, first: Removal, top: Inode): Generator<Removal> {
  interface VisitedDirectory {
    readonly self: Removal
    readonly ino: number
    readonly left: { readonly name: Uint8Array; readonly ino: number }[]
  }
  const seen = new Set<number>()
  const enter = (self: Removal, dir: Inode): VisitedDirectory => {
    if (seen.has(dir.ino) || parentOf(dir) !== self.dir)
      throw new XfsError('CORRUPT', `directory ${dir.ino} is in two places`, { ino: dir.ino })
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
    const removal = { dir: level.ino, name: next.name, directory: child.isDirectory, parent: level.self }
    if (child.isDirectory) stack.push(enter(removal, child))
    else yield removal
  }
}

function removeAll(volume: Volume, removals: readonly Removal[]): void {
  for (let done = 0; done < removals.length; ) {
    const rest = removals.slice(done)
    try {
      done += asMuchAsFits(rest.length, (most) => remove(volume, rest.slice(0, most), false))
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      for (const removal of rest) removeOne(volume, removal)
      return
    }
  }
}

/**
 * Remove a single name. If the map of a large directory has no space for holes, its blocks are not
 * freed.
 */
function removeOne(volume: Volume, removal: Removal): void {
  try {
    remove(volume, [removal], false)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    if (error.code !== 'NOSPC')
      throw new XfsError(error.code, `"${printable(removal.name)}": ${error.message}`, error.where, { cause: error })
    remove(volume, [removal], true)
  }
}

/**
 * Remove names until the transaction is full, and free inodes without links. @returns the number
 */
function remove(volume: Volume, removals: readonly Removal[], keepBlocks: boolean): number {
  const { count, left } = withTransaction(volume, (tx) => {
    const inos: Ino[] = []
    let done = 0
    for (const { dir, name, directory } of removals) {
      if (done > 0 && tx.full) break
      const ino = release(tx, removeIn(tx, openInode(volume, dir, tx), name, directory, { keepBlocks }))
      if (ino !== undefined) inos.push(ino)
      done++
    }
    return { count: done, left: inos }
  })
  for (const ino of left) finishRemoval(volume, ino)
  return count
}
