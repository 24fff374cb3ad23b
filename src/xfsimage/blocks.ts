import { type DumpOptions, dump } from '../db/dump.ts'
import { XfsError } from '../errors.ts'
import type { TreeName } from '../format/trees.ts'
import type { ForkName } from '../inode/inode.ts'
import { createComplete } from '../namespace/newfile.ts'
import { type BlockOwner, type BlockPlace, blockOwners } from '../namespace/owners.ts'
import { pathsOf, withPaths } from '../namespace/paths.ts'
import { creationPath } from '../namespace/resolve.ts'
import { type DedupeResult, dedupeAll } from '../reflink/dedupe.ts'
import { type FsrOptions, type FsrResult, fsr } from '../reflink/fsr.ts'
import type { RangeRequest } from '../reflink/range.ts'
import { type CloneResult, checkNewClone, reflink } from '../reflink/reflink.ts'
import { mappedRuns, refcountHistogram, sharers } from '../reflink/sharing.ts'
import { type TreeUsage, treeUsage } from '../reflink/treeusage.ts'
import { type UnshareResult, unshare } from '../reflink/unshare.ts'
import { type SpaceRecord, spaceMap } from '../space/fsmap.ts'
import { type Bytes, most, subtract, unitStart } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import type { Volume } from '../volume.ts'
import { choiceOf, integerOf, iterableOf, optionsOf, type Range, rangeOf, requireObject } from './arguments.ts'
import { ImageChanging } from './changing.ts'
import { type FileRef, XfsFile } from './file.ts'
import type { LongOptions } from './run.ts'

const decoder = new TextDecoder()

/** Part of a file, in bytes, with one mapping. */
export interface Extent {
  readonly offset: Bytes
  readonly length: number
  /** Bytes from the start of the filesystem. */
  readonly physical: number
  /** Allocated, but never written: it reads as zeros. */
  readonly unwritten: boolean
  /** The blocks have more than one owner. */
  readonly shared: boolean
}

/** Another mapping of blocks of a file, in bytes. */
export interface Share {
  /** In the file that was asked about. */
  readonly offset: Bytes
  readonly length: number
  /** The other file (or the same one at another offset). */
  readonly ino: number
  readonly inoOffset: Bytes
  /** A path of the other file, with `paths`. */
  readonly path?: Uint8Array
}

/** Blocks of one owner, as `owners` lists them. */
export interface OwnedSpace extends SpaceRecord {
  /** A path of the inode, with `paths`. */
  readonly path?: Uint8Array
}

/** How many blocks of an AG have so many owners. */
export interface OwnerCount {
  readonly agno: number
  /** `cow`: staging blocks of copy-on-write, which no file maps yet. */
  readonly owners: number | 'cow'
  readonly blocks: number
}

/** The space of a tree, in bytes. Files with several names in it count once. */
export interface SpaceUsage {
  readonly inodes: number
  /** Sum of the sizes of the files. */
  readonly size: Bytes
  /**
   * Blocks that the inodes count: data, and blocks of directories, attributes and block maps.
   * Shared blocks count for each file.
   */
  readonly total: Bytes
  /** Mapped by data forks (a block mapped twice counts twice). */
  readonly referenced: Bytes
  /** Of these, with more than one owner. */
  readonly shared: Bytes
  /** Of these, with one. */
  readonly exclusive: Bytes
  /** What removing the tree would free. */
  readonly freed: Bytes
}

/** The part of `XfsImageCore` for the blocks of files: mappings, sharing, owners, space. */
export abstract class ImageBlocks extends ImageChanging {
  /**
   * Share a range of `src` into `dst`, as FICLONERANGE does; without a range the whole file. A file
   * `dst` that does not exist is created, and appears complete or not at all.
   * @returns bytes shared, and extents mapped
   */
  reflink(src: FileRef, dst: FileRef, given: Partial<RangeRequest> & LongOptions = {}): Promise<CloneResult> {
    const { srcOffset = 0, dstOffset = 0, length = 0, ...options } = optionsOf(given)
    const request = { srcOffset, dstOffset, length }
    return this.changeLong('reflink', (volume) => this.#clone(volume, src, dst, request), options)
  }

  *#clone(volume: Volume, src: FileRef, dst: FileRef, request: RangeRequest): Steps<CloneResult> {
    const source = this.inode(src, true)
    const existing = this.found(dst)
    if (existing || dst instanceof XfsFile)
      return yield* reflink(volume, source.ino, this.inode(dst, true).ino, request)
    checkNewClone(volume, source, request)
    let result: CloneResult = { length: 0, mapped: 0 }
    yield* createComplete(volume, creationPath(volume, dst), 0o644, function* (ino) {
      result = yield* reflink(volume, source.ino, ino, request)
    })
    return result
  }

  /**
   * Share a range of two files if it has the same content, as FIDEDUPERANGE does; without a range
   * all of `src`. Different content is a result, not an error. See `DedupeResult.same` for a part of
   * a block at the end.
   */
  dedupe(src: FileRef, dst: FileRef, given: Partial<RangeRequest> & LongOptions = {}): Promise<DedupeResult> {
    const { srcOffset = 0, dstOffset = 0, length, ...options } = optionsOf(given)
    const steps = (volume: Volume): Steps<DedupeResult> => {
      const source = this.inode(src, true)
      const all = length ?? most(0, subtract(source.size, srcOffset))
      return dedupeAll(volume, source.ino, this.inode(dst, true).ino, { srcOffset, dstOffset, length: all })
    }
    return this.changeLong('dedupe', steps, options)
  }

  /**
   * Copy the shared blocks of a range, as FALLOC_FL_UNSHARE_RANGE does; without a range of the
   * file.
   */
  unshare(path: FileRef, given: Range & { readonly keepSize?: boolean } & LongOptions = {}): Promise<UnshareResult> {
    const { keepSize = false, ...options } = optionsOf(given)
    const steps = (volume: Volume): Steps<UnshareResult> => {
      const { offset, length } = rangeOf(options)
      const inode = this.inode(path, true)
      const all = length ?? most(0, subtract(inode.size, offset))
      if (all === 0 && length === undefined && inode.isRegular) return nothing({ copied: 0, cleared: false })
      return unshare(volume, inode.ino, { offset, length: all, keepSize })
    }
    return this.changeLong('unshare', steps, options)
  }

  /** Defragment a file. */
  async defragment(path: FileRef, given: FsrOptions & LongOptions = {}): Promise<FsrResult> {
    const { shared = 'skip', ...options } = optionsOf(given)
    return this.changeLong('defragment', (volume) => fsr(volume, this.inode(path, true).ino, { shared }), options)
  }

  /** The mappings of a file in order, cut where sharing begins or ends. */
  *extents(path: FileRef, options: { readonly fork?: ForkName } = {}): Generator<Extent> {
    const { fork = 'data' } = optionsOf(options)
    choiceOf('fork', fork, ['data', 'attr'])
    const { blocksize, fsbToDaddr } = this.geometry
    for (const run of mappedRuns(this.inode(path, true), fork)) {
      yield {
        offset: unitStart(run.startoff, blocksize),
        length: run.blockcount * blocksize,
        physical: fsbToDaddr(run.startblock) * 512,
        unwritten: run.unwritten,
        shared: run.shared,
      }
    }
  }

  /** Every other mapping of the blocks of a file; with `paths` also a path of each other file. */
  *shares(path: FileRef, options: { readonly paths?: boolean } = {}): Generator<Share> {
    const { paths = false } = optionsOf(options)
    const { blocksize } = this.geometry
    const found = sharers(this.inode(path, true))
    for (const { item, path } of paths ? withPaths(this.volume, found, ({ ino }) => ino) : withoutPaths(found)) {
      yield {
        offset: unitStart(item.startoff, blocksize),
        length: item.blockcount * blocksize,
        ino: item.ino,
        inoOffset: unitStart(item.offset, blocksize),
        ...(path && { path }),
      }
    }
  }

  /**
   * How many blocks of an AG have how many owners (one row for each number above 1), and how many
   * are CoW staging blocks; of all AGs, or of one.
   * @throws XfsError INVAL (no such AG), CORRUPT, BADCRC
   */
  *ownerCounts(options: { readonly agno?: number } = {}): Generator<OwnerCount> {
    const { agno } = optionsOf(options)
    for (const group of this.#groups(agno)) {
      const { blocks, cow } = refcountHistogram(this.volume, group)
      for (const [owners, count] of [...blocks].sort(([a], [b]) => a - b)) yield { agno: group, owners, blocks: count }
      if (cow > 0) yield { agno: group, owners: 'cow', blocks: cow }
    }
  }

  /**
   * The owner of every block of an AG, or of all AGs; in the order of the blocks. All numbers are
   * in blocks. Without the feature rmapbt only free space is known. With `paths` also a path of
   * each inode.
   * @throws XfsError INVAL (no such AG), CORRUPT, BADCRC
   */
  *owners(options: { readonly agno?: number; readonly paths?: boolean } = {}): Generator<OwnedSpace> {
    const { agno, paths = false } = optionsOf(options)
    const { volume } = this
    const groups = this.#groups(agno)
    const records = function* () {
      for (const group of groups) yield* spaceMap(volume, group)
    }
    const inoOf = ({ owner }: SpaceRecord) => (typeof owner === 'number' ? owner : undefined)
    for (const { item, path } of paths ? withPaths(volume, records(), inoOf) : withoutPaths(records()))
      yield path ? { ...item, path } : item
  }

  /**
   * The owners of a block, with their paths; more than one if it is shared. A number is a byte
   * offset from the start of the filesystem.
   * @throws XfsError RANGE (no such block), CORRUPT
   */
  ownerOf(place: BlockPlace): BlockOwner[] {
    if (typeof place === 'number') integerOf('byte offset', place)
    else {
      requireObject('place', place)
      integerOf('agno', place.agno)
      integerOf('agbno', place.agbno)
    }
    return blockOwners(this.volume, place)
  }

  /**
   * A path of a file or an inode number; undefined if it has none, or none that can be found. On a
   * damaged image, too.
   */
  pathOf(file: XfsFile | number, options?: { readonly encoding?: 'utf8' }): string | undefined
  pathOf(file: XfsFile | number, options: { readonly encoding: 'buffer' }): Uint8Array | undefined
  pathOf(file: XfsFile | number, options: { encoding?: 'utf8' | 'buffer' } = {}): string | Uint8Array | undefined {
    const { encoding = 'utf8' } = optionsOf(options)
    const ino = typeof file === 'number' ? integerOf('inode number', file) : this.inode(file, true).ino
    const path = pathsOf(this.volume, [ino]).get(ino)
    return path && encoding === 'utf8' ? decoder.decode(path) : path
  }

  /**
   * Paths of inodes; those without a path are not in the result. The tree is walked at most once
   * for all of them.
   */
  pathsOf(inos: Iterable<number>, options?: { readonly encoding?: 'utf8' }): Map<number, string>
  pathsOf(inos: Iterable<number>, options: { readonly encoding: 'buffer' }): Map<number, Uint8Array>
  pathsOf(inos: Iterable<number>, options: { encoding?: 'utf8' | 'buffer' } = {}): Map<number, string | Uint8Array> {
    const { encoding = 'utf8' } = optionsOf(options)
    const numbers = Array.from(iterableOf('inode numbers', inos), (ino) => integerOf('inode number', ino))
    const paths = pathsOf(this.volume, numbers)
    if (encoding === 'buffer') return paths
    return new Map(Array.from(paths, ([ino, path]) => [ino, decoder.decode(path)]))
  }

  /**
   * Print the records of a btree as lines of text, JSON or CSV; `bmbt` is the extents of files. Of
   * a damaged tree every record that can be read is printed, and each fault is told.
   * @throws XfsError INVAL (no such AG, no such inode), NOENT (the inode is free), UNSUPPORTED (the
   *   filesystem has no such tree)
   */
  dump(tree: TreeName, options: DumpOptions): void {
    dump(this.volume, tree, options)
  }

  /**
   * The space of a file or a tree: shared, exclusive, and freed if it was removed. A symbolic link
   * is not followed.
   * `onError` is called for what cannot be read below `path`, with its path from there;
   *   without it such an error ends the measurement
   * @throws XfsError NOENT, CORRUPT, BADCRC …
   */
  async usage(
    path: FileRef,
    given: LongOptions & { readonly onError?: (path: Uint8Array, error: XfsError) => void } = {},
  ): Promise<SpaceUsage> {
    const { onError, ...options } = optionsOf(given)
    const steps = (): Steps<TreeUsage> => treeUsage(this.inode(path, false), onError)
    const { inodes, size, blocks, ...usage } = await this.readLong('usage', steps, options)
    const bytes = (count: number): Bytes => unitStart(count, this.geometry.blocksize)
    return {
      inodes,
      size,
      total: bytes(blocks),
      referenced: bytes(usage.referenced),
      shared: bytes(usage.shared),
      exclusive: bytes(usage.exclusive),
      freed: bytes(usage.freed),
    }
  }

  /** @throws XfsError INVAL */
  *#groups(agno: number | undefined): Generator<number> {
    const { agcount } = this.geometry
    if (agno === undefined) for (let group = 0; group < agcount; group++) yield group
    else if (Number.isInteger(agno) && agno >= 0 && agno < agcount) yield agno
    else throw new XfsError('INVAL', `AG ${String(agno)} does not exist: there are ${agcount}`)
  }
}

function* withoutPaths<Item>(items: Iterable<Item>): Generator<{ readonly item: Item; readonly path: undefined }> {
  for (const item of items) yield { item, path: undefined }
}

// biome-ignore lint/correctness/useYield: there is nothing to do
function* nothing<T>(result: T): Steps<T> {
  return result
}
