import { setAttr } from '../attr/attr.ts'
import { lookup } from '../dir/dir.ts'
import { assert, XfsError } from '../errors.ts'
import type { Ino } from '../format/geometry.ts'
import type { Timestamp } from '../format/time.ts'
import { type Inode, openInode, updateInode } from '../inode/inode.ts'
import { requireBlocks } from '../mapping/runs.ts'
import { createUnnamed, nameIn, release, removeIn } from '../namespace/namespace.ts'
import { addContent } from '../namespace/newcontent.ts'
import type { FileRef, NewChild, NewLink } from '../namespace/newinodes.ts'
import { populate } from '../namespace/populate.ts'
import { finishRemoval } from '../namespace/remove.ts'
import { asMuchAsFits, isTooBig, type Transaction, withTransaction } from '../tx/transaction.ts'
import { add, type Bytes, capped, inUnit, subtract, unitOf, unitsFor } from '../util/bytes.ts'
import { counted } from '../util/counted.ts'
import type { Volume } from '../volume.ts'
import type { CopyProblems } from './copyproblems.ts'

/**
 * Write trees into an image, fast: the new files of many directories share a transaction, and the
 * contents of small files share a buffer.
 *
 *   put(dir, child) ─▶ job: the children of one directory, their contents in the arena
 *                  ─▶ transaction: populate() for each of several jobs ─▶ commit
 *                  ─▶ large files: afterwards, in pieces
 *
 * A large file is written without a name, and linked when it is complete: a kill or a full image
 * leaves no part of it, and the file that it replaces stays until then.
 *
 * If a transaction fails or is too large for the log, it is undone and retried in halves, down to a
 * single child. A child that fails is reported with its path. So everything that fits is written,
 * and the image is sound after each commit.
 */

/** Buffer for the contents of small files of one transaction. */
const ARENA = 16 * 2 ** 20
/** Maximum files created in one transaction. */
const CHILDREN = 4096
/** Log bytes for the names and index entries of a file. */
const NAMES = 512
/** Larger files are written in transactions of their own. */
export const LARGE = 2 ** 20
const BUFFER = 8 * 2 ** 20
/** Maximum ranges of a sparse file that are written together. */
const RUNS = 4096

/** A directory of the image; `ino` is set when it is created. */
export interface DirRef extends FileRef {
  /** New directories only: the modification time, which filling the directory must not change. */
  times?: { readonly atime: Timestamp; readonly mtime: Timestamp } | undefined
}

/** The content of a file that is read in pieces. */
export interface LargeContent {
  readonly size: Bytes
  /** It has no holes, so free space for all of it can be checked at once. */
  readonly dense: boolean
  /**
   * Data in file order, with holes between. Fills `into` with available bytes; returns their
   * number, 0 at the end.
   */
  runs(): Iterable<{ readonly offset: Bytes; readonly length: Bytes }>
  read(into: Uint8Array, offset: Bytes): number
  /** @param complete  false: writing it failed, which was reported */
  close(complete: boolean): void
}

/** A file that is copied into the image. */
export interface NewCopy extends NewChild {
  readonly uid: number
  readonly gid: number
  readonly atime: Timestamp
  readonly mtime: Timestamp
}

export type Child = (NewCopy | NewLink) & {
  readonly path: Uint8Array
  readonly large?: (() => LargeContent) | undefined
  /** Of a regular file, when its content is known. */
  size?: Bytes | undefined
}

interface Job {
  readonly dir: DirRef
  readonly children: Child[]
  /** Existing names of the directory that children replace. */
  readonly replaced: ReadonlySet<Uint8Array>
  /** Its part of the arena, in blocks. */
  readonly start: number
  end: number
}

/** The job that collects children. */
interface OpenJob extends Job {
  readonly replaced: Set<Uint8Array>
}

interface Large {
  readonly dir: DirRef
  readonly file: Child & NewCopy
  readonly content: () => LargeContent
}

/** An inode that lost its last name, and the path of the file that replaced it. */
interface Replaced {
  readonly ino: Ino
  readonly path: Uint8Array
}

/** Contiguous blocks of a file, and their place in the arena. */
interface BlockRun {
  readonly startoff: number
  blockcount: number
  readonly at: number
}

/** Blocks of the arena used by the content of a child. */
const blocksOf = (child: Child): number =>
  isNew(child) && child.content ? child.content.runs.reduce((sum, run) => sum + run.blockcount, 0) : 0

/** Blocks of the smallest child. */
const fewestBlocks = (children: readonly Child[]): number =>
  children.reduce((least, child) => Math.min(least, blocksOf(child)), Number.POSITIVE_INFINITY)

/** Its place in the arena; undefined without content. */
const placeOf = (child: Child): number | undefined => (isNew(child) ? child.content?.runs[0]?.at : undefined)

/** Estimated log bytes of a child: inode, names, attributes. */
const weightOf = (child: Child, inodesize: number): number =>
  NAMES + (isNew(child) ? (child.attrs ?? []).reduce((sum, { value }) => sum + value.length, inodesize) : inodesize)

/** The data of a file until it is created. */
function releaseContent(child: Child): void {
  if (!isNew(child)) return
  child.attrs = undefined
  child.content = undefined
}

const isNew = (child: Child): child is Child & NewCopy => !('link' in child)

export class ImageWriter {
  readonly #volume: Volume
  readonly #problems: CopyProblems
  readonly #arena: Uint8Array
  readonly #arenaBlocks: number
  #used = 0
  #children = 0
  #weight = 0
  #jobs: Job[] = []
  #job: OpenJob | undefined
  #large: Large[] = []
  readonly #failed = new Set<DirRef>()
  /** A file with this many blocks did not fit. */
  #tooMany = Number.POSITIVE_INFINITY
  /** Files, directories and links created. */
  made = 0
  bytes = 0

  constructor(volume: Volume, problems: CopyProblems) {
    this.#volume = volume
    this.#problems = problems
    const { blocksize } = volume.geometry
    this.#arenaBlocks = Math.max(ARENA / blocksize, (2 * LARGE) / blocksize)
    this.#arena = new Uint8Array(new SharedArrayBuffer(this.#arenaBlocks * blocksize))
  }

  /** Files created or queued. */
  get progress(): number {
    return this.made + this.#children
  }

  /**
   * Reserve `blocks` blocks of the arena for the content of the next child, which must fill them.
   * @returns the bytes, and the place for `ContentRun.at`
   */
  room(dir: DirRef, blocks: number): { readonly bytes: Uint8Array; readonly at: number } {
    if (this.#used + blocks > this.#arenaBlocks || this.#full) this.commit()
    this.#jobFor(dir)
    const { blocksize } = this.#volume.geometry
    return {
      bytes: this.#arena.subarray(this.#used * blocksize, (this.#used + blocks) * blocksize),
      at: this.#used,
    }
  }

  /** There are enough children for a transaction. */
  get #full(): boolean {
    return this.#children >= CHILDREN || this.#weight > this.#volume.committer.capacity / 2
  }

  #jobFor(dir: DirRef): OpenJob {
    if (this.#job?.dir !== dir) {
      this.#finishJob()
      this.#job = { dir, children: [], replaced: new Set(), start: this.#used, end: this.#used }
    }
    return this.#job as OpenJob
  }

  /**
   * Put a file into a directory. Its content, if any, was written to `room` before.
   * @param exists  what to do if the name exists; needed for directories that are not new
   */
  put(dir: DirRef, child: Child, exists?: 'replace'): void {
    if (isNew(child) && child.large) {
      this.#large.push({ dir, file: child, content: child.large })
      return
    }
    const blocks = blocksOf(child)
    if (this.#full && blocks === 0) this.commit()
    const job = this.#jobFor(dir)
    assert(blocks === 0 || placeOf(child) === this.#used, 'content that is not in its place in the arena')
    this.#used += blocks
    if (exists === 'replace') job.replaced.add(child.name)
    job.children.push(child)
    job.end = this.#used
    this.#children++
    this.#weight += weightOf(child, this.#volume.geometry.inodesize)
  }

  /** All children of a directory were put. */
  #finishJob(): void {
    const job = this.#job
    this.#job = undefined
    if (job && job.children.length > 0) this.#jobs.push(job)
  }

  /** The directory's inode, created now if it is queued. */
  inoOf(dir: DirRef): Ino | undefined {
    if (dir.ino === undefined) this.commit()
    return dir.ino
  }

  /** A transaction for changes that belong to this work. */
  within(action: (tx: Transaction) => void): void {
    this.commit()
    withTransaction(this.#volume, action)
  }

  /** Remove an empty directory. @throws XfsError NOTEMPTY, PERM, NOSPC */
  removeDirectory(dir: DirRef, name: Uint8Array): void {
    this.commit()
    this.#remove(dir, name, true)
  }

  /** Commit everything that was put. */
  commit(): void {
    this.#finishJob()
    const jobs = this.#jobs
    this.#jobs = []
    if (jobs.length > 0) this.#all(jobs)
    // Callers may keep references to them until the end, as for names of an archive.
    for (const { children } of jobs) for (const child of children) releaseContent(child)
    this.#used = 0
    this.#children = 0
    this.#weight = 0
  }

  /** Stop: committed files stay, queued ones are dropped. */
  abandon(): void {
    this.#job = undefined
    this.#jobs = []
    this.#large = []
  }

  #count(jobs: readonly Job[]): void {
    for (const { children } of jobs) {
      this.made += children.length
      for (const child of children) if (isNew(child)) this.bytes += child.content?.size ?? 0
    }
  }

  /**
   * Try all in one transaction, else in halves, down to a single child; failures are reported.
   * @throws errors other than refusals of the image
   */
  #all(jobs: readonly Job[]): void {
    try {
      this.#requireRoom(Math.min(...jobs.map(({ children }) => fewestBlocks(children))))
      this.#now(jobs)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
      const [job] = jobs as [Job]
      if (jobs.length > 1) for (const half of halves(jobs)) this.#all(half)
      else if (this.#failed.has(job.dir)) for (const child of job.children) this.#failed.add(child as DirRef)
      else if (job.children.length > 1) for (const half of halves(job.children)) this.#all([part(job, half)])
      else this.#single(job, error)
    }
  }

  /** On a full image, skip files with at least as many blocks as one that did not fit. */
  #requireRoom(blocks: number): void {
    if (blocks > 0 && blocks >= this.#tooMany)
      throw new XfsError('NOSPC', `no space: ${counted(blocks, 'block')} needed`)
  }

  /** The directory could not be created, which was reported: its contents cannot either. */
  failed(dir: DirRef): boolean {
    return this.#failed.has(dir)
  }

  #now(jobs: readonly Job[]): void {
    for (const { children } of jobs) for (const child of children) if (isNew(child)) child.ino = undefined
    let left: Replaced[]
    try {
      left = withTransaction(this.#volume, (tx) => this.#run(tx, jobs))
    } catch (error) {
      for (const { children } of jobs) for (const child of children) if (isNew(child)) child.ino = undefined
      throw error
    }
    this.#count(jobs)
    for (const { ino, path } of left) this.#finishRemoval(ino, path)
  }

  /**
   * Free an inode that a committed transaction replaced or removed. If that fails, the problem is
   * reported: the change itself is not to be tried again. The inode stays unlinked.
   */
  #finishRemoval(ino: Ino, path: Uint8Array): void {
    try {
      finishRemoval(this.#volume, ino)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
      this.#problems.add(path, error)
    }
  }

  /** A child that failed: if it is only too large for one transaction, use several. */
  #single(job: Job, failure: XfsError): void {
    const [child] = job.children as [Child]
    try {
      if (!isTooBig(failure) || !isNew(child) || !child.attrs?.length) throw failure
      this.#inParts(job, child, child.attrs)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code === 'IO') throw error
      if (error.code === 'NOSPC') this.#tooMany = Math.min(this.#tooMany, blocksOf(child))
      this.#failed.add(child as DirRef)
      this.#problems.add(child.path, error)
    }
  }

  /**
   * A file with attributes larger than the log: one transaction per attribute. An incomplete file
   * is removed.
   */
  #inParts(job: Job, child: Child & NewCopy, attrs: NonNullable<NewChild['attrs']>): void {
    const volume = this.#volume
    const bare = { ...child, attrs: [] }
    this.#now([{ ...job, children: [bare] }])
    try {
      for (const attr of attrs)
        withTransaction(volume, (tx) => setAttr(tx, openInode(volume, bare.ino as Ino, tx), attr, attr.value))
      child.ino = bare.ino
      child.generation = bare.generation
    } catch (error) {
      if (!(error instanceof XfsError && error.code === 'IO')) {
        this.#remove(job.dir, child.name, false)
        this.made--
        this.bytes -= child.content?.size ?? 0
      }
      throw error
    }
  }

  /** Create the children of jobs. @returns what is to be freed after the commit */
  #run(tx: Transaction, jobs: readonly Job[]): Replaced[] {
    const volume = this.#volume
    const { blocksize } = volume.geometry
    const removed = new Map<Ino, { readonly inode: Inode; readonly path: Uint8Array }>()
    for (const { dir, children, replaced } of jobs) {
      for (const { name, path } of children) {
        if (!replaced.has(name)) continue
        const inode = openInode(volume, dir.ino as Ino, tx)
        if (!lookup(inode, name, tx)) continue
        const old = removeIn(tx, inode, name, false)
        removed.set(old.ino, { inode: old, path })
      }
    }
    const arena = ({ start, end }: Job): Uint8Array => this.#arena.subarray(start * blocksize, end * blocksize)
    populate(
      tx,
      jobs.map((job) => ({
        dir: job.dir,
        children: job.children,
        arena: arena(job),
        start: job.start,
        times: job.dir.times,
        copies: true,
      })),
    )
    // After the other children: a hard link may refer to one of them.
    const left: Replaced[] = []
    for (const { inode, path } of removed.values()) {
      const ino = release(tx, inode)
      if (ino !== undefined) left.push({ ino, path })
    }
    return left
  }

  /** Write the large files that were put; yields bytes as they go. */
  *writeLarge(): Generator<number> {
    if (this.#large.length === 0) return
    this.commit()
    const files = this.#large
    this.#large = []
    for (const large of files) yield* this.#writeOne(large)
  }

  get hasLarge(): boolean {
    return this.#large.length > 0
  }

  *#writeOne({ dir, file, content: open }: Large): Generator<number> {
    if (dir.ino === undefined) return // It could not be created, which was reported.
    const volume = this.#volume
    let complete = false
    let content: LargeContent | undefined
    try {
      content = open()
      file.size = content.size
      if (content.dense) requireBlocks(volume, unitsFor(content.size, volume.geometry.blocksize))
      const ino = this.#makeUnnamed(dir.ino, file)
      yield* this.#writeContent(ino, content)
      const replaced = this.#nameComplete(dir, file, ino, content.size)
      complete = true
      if (replaced !== undefined) this.#finishRemoval(replaced, file.path)
    } catch (error) {
      if (error instanceof XfsError && error.code === 'IO') throw error
      this.#problems.add(file.path, error)
    } finally {
      content?.close(complete)
      // An incomplete file is removed, also after an interruption.
      if (!complete) {
        this.#failed.add(file as DirRef)
        if (file.ino !== undefined) finishRemoval(volume, file.ino)
        file.ino = undefined
      }
    }
  }

  /** Create the file without content and name. */
  #makeUnnamed(dir: Ino, file: Child & NewCopy): Ino {
    const volume = this.#volume
    const { mode, uid, gid, atime, mtime, attrs = [] } = file
    const ino = withTransaction(volume, (tx) => {
      const inode = createUnnamed(tx, openInode(volume, dir, tx), { mode, uid, gid, atime, mtime }, true)
      file.generation = inode.generation
      return inode.ino
    })
    file.ino = ino
    for (const attr of attrs) withTransaction(volume, (tx) => setAttr(tx, openInode(volume, ino, tx), attr, attr.value))
    return ino
  }

  /** Give a complete file its name. @returns what is to be freed */
  #nameComplete(dir: DirRef, { name }: NewChild, ino: Ino, size: Bytes): Ino | undefined {
    const volume = this.#volume
    const replaced = withTransaction(volume, (tx) => {
      const inode = openInode(volume, ino, tx)
      const into = openInode(volume, dir.ino as Ino, tx)
      const left = nameIn(tx, into, name, inode)
      if (dir.times) updateInode(tx, into, dir.times)
      updateInode(tx, inode, { size })
      return left
    })
    this.made++
    return replaced
  }

  /**
   * Write the content in whole blocks, one buffer at a time; for a sparse file that is many ranges.
   */
  *#writeContent(ino: Ino, content: LargeContent): Generator<number> {
    const { blocksize } = this.#volume.geometry
    const buffer = this.#arena.subarray(0, Math.min(BUFFER, this.#arena.length))
    const runs: BlockRun[] = []
    let used = 0
    let bytes = 0
    const flush = (): number => {
      this.#writeRuns(ino, runs, buffer.subarray(0, used * blocksize))
      const written = bytes
      this.bytes += written
      runs.length = 0
      used = 0
      bytes = 0
      return written
    }
    for (const { offset, length } of content.runs()) {
      for (let done = 0; done < length; ) {
        const position = add(offset, done)
        const block = unitOf(position, blocksize)
        const skip = inUnit(position, blocksize)
        const last = runs.at(-1)
        // Continue in the block where the previous data ended.
        const continues = last && last.startoff + last.blockcount - 1 === block
        if (!continues && (used * blocksize === buffer.length || runs.length === RUNS)) yield flush()
        const start = (continues ? used - 1 : used) * blocksize
        const room = buffer.subarray(start + skip)
        const have = content.read(room.subarray(0, capped(subtract(length, done), room.length)), position)
        if (have === 0) break
        if (!continues) buffer.fill(0, start, start + skip)
        const blocks = Math.ceil((skip + have) / blocksize)
        buffer.fill(0, start + skip + have, start + blocks * blocksize)
        const more = continues ? blocks - 1 : blocks
        const continued = runs.at(-1)
        if (continued && continued.startoff + continued.blockcount === block + blocks - more)
          continued.blockcount += more
        else runs.push({ startoff: block, blockcount: blocks, at: used })
        used += more
        bytes += have
        done += have
      }
    }
    if (used > 0) yield flush()
  }

  /** Write ranges of blocks in as few transactions as possible. */
  #writeRuns(ino: Ino, runs: readonly BlockRun[], arena: Uint8Array): void {
    const volume = this.#volume
    const { blocksize } = volume.geometry
    const total = arena.length / blocksize
    let step = total
    for (let done = 0; done < total; done += step) {
      step = asMuchAsFits(Math.min(step, total - done), (most) => {
        const part = arena.subarray(done * blocksize, (done + most) * blocksize)
        withTransaction(volume, (tx) => addContent(tx, openInode(volume, ino, tx), cutRuns(runs, done, most), part))
        return most
      })
    }
  }

  #remove(dir: DirRef, name: Uint8Array, directory: boolean): void {
    const volume = this.#volume
    const left = withTransaction(volume, (tx) => {
      const inode = openInode(volume, dir.ino as Ino, tx)
      const gone = release(tx, removeIn(tx, inode, name, directory))
      if (dir.times) updateInode(tx, inode, dir.times)
      return gone
    })
    if (left !== undefined) finishRemoval(volume, left)
  }
}

/** The blocks [from, from + count) of ranges that are adjacent in the arena. */
function cutRuns(runs: readonly BlockRun[], from: number, count: number): BlockRun[] {
  const cut: BlockRun[] = []
  for (const { startoff, blockcount, at } of runs) {
    const start = Math.max(at, from)
    const end = Math.min(at + blockcount, from + count)
    if (start < end) cut.push({ startoff: startoff + start - at, blockcount: end - start, at: start })
  }
  return cut
}

/** The first half of a list, and the second. */
const halves = <T>(list: readonly T[]): T[][] => {
  const middle = list.length >> 1
  return [list.slice(0, middle), list.slice(middle)]
}

/** A job for some consecutive children of another. */
function part(job: Job, children: Child[]): Job {
  const start = children.map(placeOf).find((place) => place !== undefined) ?? job.start
  const end = start + children.reduce((sum, child) => sum + blocksOf(child), 0)
  return { ...job, children, start, end }
}
