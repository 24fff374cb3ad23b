import { type ParentPointer, parentPointers } from '../attr/parent.ts'
import { entries, lookup } from '../dir/dir.ts'
import type { Entry } from '../dir/read.ts'
import { XfsError } from '../errors.ts'
import { FileTypes } from '../format/dir.ts'
import { openInode } from '../inode/inode.ts'
import type { Volume } from '../volume.ts'
import { MAX_PATH } from './resolve.ts'

/**
 * Paths of inodes, from the root: "/etc/motd". An inode with several names has one of them.
 *
 *   parent pointers   inode ─▶ its directory ─▶ … ─▶ root     each confirmed by the entry there
 *   walk              root ─▶ all directories                 for the inodes that are left
 *
 * This works on damaged images, too: what cannot be read is skipped, and an inode without a path is
 * not in the result. A path longer than `resolve` takes is none.
 */

const SLASH = 0x2f

/**
 * Paths of these inodes. The tree is walked at most once, and only the paths in the result are
 * kept.
 */
export function pathsOf(volume: Volume, inos: Iterable<number>): Map<number, Uint8Array> {
  const paths = new Map<number, Uint8Array>()
  const wanted = new Set<number>()
  const upwards = new Upwards(volume)
  for (const ino of inos) {
    if (paths.has(ino) || wanted.has(ino)) continue
    const path = ino === volume.geometry.sb.rootino ? Uint8Array.of(SLASH) : upwards.pathOf(ino)
    if (path) paths.set(ino, path)
    else if (mayHaveName(volume, ino)) wanted.add(ino)
  }
  if (wanted.size > 0) walk(volume, wanted, paths)
  return paths
}

/** How many items wait for their paths, at most: one walk is for all of them. */
const BATCH = 2 ** 16

/** Items with the paths of their inodes, in the same order; in bounded memory. */
export function* withPaths<Item>(
  volume: Volume,
  items: Iterable<Item>,
  inoOf: (item: Item) => number | undefined,
): Generator<{ readonly item: Item; readonly path: Uint8Array | undefined }> {
  let batch: Item[] = []
  const flush = function* () {
    const inos = batch.map(inoOf).filter((ino) => ino !== undefined)
    const paths = pathsOf(volume, inos)
    for (const item of batch) yield { item, path: paths.get(inoOf(item) ?? -1) }
    batch = []
  }
  for (const item of items) {
    batch.push(item)
    if (batch.length === BATCH) yield* flush()
  }
  yield* flush()
}

/** False for inodes that no directory has: those of the superblock, and unlinked ones. */
function mayHaveName(volume: Volume, ino: number): boolean {
  const { sb } = volume.geometry
  if ([sb.rbmino, sb.rsumino, sb.uquotino, sb.gquotino, sb.pquotino].includes(ino)) return false
  if (!volume.geometry.validIno(ino)) return false
  return attempt(() => openInode(volume, ino).nlink > 0) ?? true
}

/** Paths of directories that are kept, at most. */
const KNOWN = 4096

/** Paths by parent pointers. */
class Upwards {
  readonly #volume: Volume
  /** Of directories; bounded. */
  readonly #known = new Map<number, Uint8Array>()

  constructor(volume: Volume) {
    this.#volume = volume
  }

  pathOf(ino: number): Uint8Array | undefined {
    const { features, geometry } = this.#volume
    if (!features.has('parent')) return undefined
    const names: Uint8Array[] = []
    const passed: number[] = []
    let length = 0
    let above: Uint8Array | undefined
    for (let at = ino; at !== geometry.sb.rootino; ) {
      const pointer = this.#confirmed(at)
      if (!pointer) return undefined
      names.push(pointer.name)
      length += 1 + pointer.name.length
      // This also ends a loop of directories.
      if (length > MAX_PATH) return undefined
      at = pointer.ino
      above = this.#known.get(at)
      if (above) break
      passed.push(at)
    }
    return this.#joined(above, names, passed)
  }

  /** @param names the last one first @param passed the directories of them, without `above` */
  #joined(above: Uint8Array | undefined, names: Uint8Array[], passed: number[]): Uint8Array | undefined {
    let path = above ?? new Uint8Array(0)
    // The root, whose path is empty here.
    if (!above) passed.pop()
    for (let i = names.length - 1; i >= 0; i--) {
      path = pathBelow(path, names[i] as Uint8Array)
      if (path.length > MAX_PATH) return undefined
      const ino = passed[i - 1]
      if (ino === undefined) continue
      if (this.#known.size === KNOWN) this.#known.clear()
      this.#known.set(ino, path)
    }
    return path
  }

  /** The first parent pointer that an entry of the directory confirms. */
  #confirmed(ino: number): ParentPointer | undefined {
    const volume = this.#volume
    return attempt(() => {
      for (const pointer of parentPointers(openInode(volume, ino))) {
        const isEntry = attempt(() => {
          const dir = openInode(volume, pointer.ino)
          return dir.generation === pointer.gen && lookup(dir, pointer.name)?.ino === ino
        })
        if (isEntry) return { ...pointer, name: pointer.name.slice() }
      }
      return undefined
    })
  }
}

/** The path of a name in a directory, which is that of the root if `path` is "/" or empty. */
export function pathBelow(path: Uint8Array, name: Uint8Array): Uint8Array {
  const length = path.at(-1) === SLASH ? path.length - 1 : path.length
  const joined = new Uint8Array(length + 1 + name.length)
  joined.set(path)
  joined[length] = SLASH
  joined.set(name, length + 1)
  return joined
}

/** Add the paths of wanted inodes, which are taken out of the set, until it is empty. */
function walk(volume: Volume, wanted: Set<number>, paths: Map<number, Uint8Array>): void {
  const { rootino } = volume.geometry.sb
  // In a damaged image directories may form a loop.
  const seen = new Set<number>()
  const stack: { readonly path: Uint8Array; readonly entries: Iterator<Entry> }[] = []
  const enter = (ino: number, path: Uint8Array): void => {
    if (seen.has(ino) || path.length > MAX_PATH) return
    const dir = attempt(() => openInode(volume, ino))
    if (!dir?.isDirectory) return
    seen.add(ino)
    stack.push({ path, entries: entries(dir) })
  }
  enter(rootino, new Uint8Array(0))
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const { path, entries } = top
    const next = attempt(() => entries.next())
    if (!next || next.done) {
      stack.pop()
      continue
    }
    const { ino, name, ftype } = next.value
    const full = path.length + 1 + name.length <= MAX_PATH
    if (full && wanted.delete(ino)) paths.set(ino, pathBelow(path, name))
    if (wanted.size === 0) return
    if (ftype === FileTypes.directory || ftype === 0) enter(ino, pathBelow(path, name))
  }
}

/** What cannot be read has no names. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof XfsError) return undefined
    throw error
  }
}
