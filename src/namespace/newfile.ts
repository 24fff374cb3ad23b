import { ChangeUndone, XfsError } from '../errors.ts'
import { FILE_TYPES, S_IFMT } from '../format/dinode.ts'
import type { Ino } from '../format/geometry.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import { withTransaction } from '../tx/transaction.ts'
import { pathBytes, printable } from '../util/printable.ts'
import type { Volume } from '../volume.ts'
import { createUnnamed, mkdir, nameIn, type PathLike } from './namespace.ts'
import { finishRemoval } from './remove.ts'
import { resolve, resolveParent, splitPath } from './resolve.ts'

/**
 * A regular file that has no name while it is filled, so that it appears complete or not at all.
 */
export interface NewFile {
  readonly ino: Ino
  /**
   * Give it its name. A file that has the name already is replaced.
   * @throws XfsError as `createFile`; the new file is then left to `drop`
   */
  name(): Inode
  /** Remove it, if it has no name. */
  drop(): void
}

/** @param mode permissions. @throws XfsError NOENT, NOTDIR (the directory), NOSPC, PERM */
export function createUnfinished(volume: Volume, path: PathLike, mode: number): NewFile {
  const ino = withTransaction(volume, (tx) => {
    const { dir } = resolveParent(volume, path, { reader: tx })
    return createUnnamed(tx, dir, { mode: FILE_TYPES.reg | (mode & ~S_IFMT) }).ino
  })
  let settled = false
  return {
    ino,
    name() {
      const replaced = withTransaction(volume, (tx) => {
        const { dir, name } = resolveParent(volume, path, { reader: tx })
        return nameIn(tx, dir, name, openInode(volume, ino, tx))
      })
      settled = true
      if (replaced !== undefined) finishRemoval(volume, replaced)
      return openInode(volume, ino)
    },
    drop() {
      if (settled) return
      settled = true
      finishRemoval(volume, ino)
    },
  }
}

/**
 * Create a regular file atomically: it has no name while it is filled, and is removed if that
 * fails. An existing file with that name is replaced.
 *
 *   createUnnamed ──▶ fill (many transactions) ──▶ nameIn
 *                        └── error ──▶ finishRemoval
 *
 * @param mode permissions
 * @param fill writes the content; its steps are yielded
 * @throws XfsError as `createFile`, and what `fill` throws
 */
export function* createComplete<T>(
  volume: Volume,
  path: PathLike,
  mode: number,
  fill: (ino: Ino) => Iterable<T>,
): Generator<T, Inode> {
  const file = createUnfinished(volume, path, mode)
  let failure: unknown
  try {
    yield* fill(file.ino)
    return file.name()
  } catch (error) {
    failure = error
  } finally {
    file.drop()
  }
  throw failure instanceof XfsError ? new ChangeUndone(failure) : failure
}

/**
 * Create a directory and the directories above it that do not exist.
 * @returns the path of the first one that was created
 * @throws XfsError NOTDIR, NOSPC, PERM …
 */
export function makeDirectories(volume: Volume, path: PathLike, mode: number): Uint8Array | undefined {
  const bytes = pathBytes(path)
  let first: Uint8Array | undefined
  for (let end = 1; end <= bytes.length; end++) {
    if (end < bytes.length && bytes[end] !== SLASH) continue
    const above = bytes.subarray(0, end)
    if (splitPath(above).length === 0) continue
    try {
      mkdir(volume, above, mode)
      first ??= above
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'EXIST') throw error
      if (!resolve(volume, above).isDirectory)
        throw new XfsError('NOTDIR', `${printable(above)}: not a directory`, { path: printable(above) })
    }
  }
  return first
}

const SLASH = 0x2f
