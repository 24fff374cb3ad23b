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
import type { Volume } from '../volume.ts'
import type { Problems } from './problems.ts'

/**
 * Writing trees into an image, fast: many directories' worth of new files share a transaction, and the contents of small files one buffer.
 *
 *   put(dir, child) ─▶ job: the children of one directory ─▶ jobs of one transaction ─▶ commit      large files: afterwards, a piece at a time
 *                        contents gathered in the arena         populate() for each
 *
 * A large file is written without a name, and gets it when it is complete: a kill, or a full image, leaves no part of it, and what it replaces stays
 * until then.
 *
 * Where a transaction fails or is too large for the log, it is undone, and its work is done again in halves, down to the single child; the child that
 * fails is told, with its path. So what can be there is there, and the image is sound after each commit.
 */

/** Room for the contents of small files of one transaction. */
const ARENA = 16 * 2 ** 20
/** Files that one transaction makes. */
const CHILDREN = 4096
/** Bytes for the names and index entries of a file. */
const NAMES = 512
/** A file of more bytes than this is written by itself. */
export const LARGE = 2 ** 20
const BUFFER = 8 * 2 ** 20
/** Runs of a file with holes that are written together. */
const RUNS = 4096

/** A directory on the image: `ino` is known once it is made. */
export interface DirRef extends FileRef {
  /** Of a new directory: its time of modification, which filling it must not change. */
  times?: { readonly atime: Timestamp; readonly mtime: Timestamp } | undefined
}

/** The bytes of a file that is read a piece at a time. */
export interface LargeContent {
  readonly size: Bytes
  /** Without holes: that there is room for all of it can be seen at once. */
  readonly dense: boolean
  /** Data in file order; what lies between are holes. Fills `into` as far as it goes; returns bytes, 0 at the end. */
  runs(): Iterable<{ readonly offset: Bytes; readonly length: Bytes }>
  read(into: Uint8Array, offset: Bytes): number
  /** @param complete  false: writing it failed, which is told */
  close(complete: boolean): void
}

export type Child = (NewChild | NewLink) & {
  readonly path: Uint8Array
  readonly large?: (() => LargeContent) | undefined
}

interface Job {
  readonly dir: DirRef
  readonly children: Child[]
  /** Names of the directory that make room for children. */
  readonly replaced: ReadonlySet<Uint8Array>
  /** Its part of the arena, in blocks. */
  readonly start: number
  end: number
}

/** The job that children are put into. */
interface OpenJob extends Job {
  readonly replaced: Set<Uint8Array>
}

interface Large {
  readonly dir: DirRef
  readonly file: Child & NewChild
  readonly content: () => LargeContent
}

/** A run of blocks of a file, and where they are among those of the arena. */
interface BlockRun {
  readonly startoff: number
  blockcount: number
  readonly at: number
}

/** Blocks of the arena that a child's content takes. */
const blocksOf = (child: Child): number =>
  isNew(child) && child.content ? child.content.runs.reduce((sum, run) => sum + run.blockcount, 0) : 0

/** Blocks of the child that takes the fewest. */
const fewestBlocks = (children: readonly Child[]): number =>
  children.reduce((least, child) => Math.min(least, blocksOf(child)), Number.POSITIVE_INFINITY)

/** Its place in the arena; undefined where it has no content there. */
const placeOf = (child: Child): number | undefined => (isNew(child) ? child.content?.runs[0]?.at : undefined)

/** Bytes that a child adds to a transaction, roughly: its inode, names of it, attributes. */
const weightOf = (child: Child, inodesize: number): number =>
  NAMES + (isNew(child) ? (child.attrs ?? []).reduce((sum, { value }) => sum + value.length, inodesize) : inodesize)

/** What a file needs only until it is made. */
function forgetParts(child: Child): void {
  if (!isNew(child)) return
  child.attrs = undefined
  child.content = undefined
}

const isNew = (child: Child): child is Child & NewChild => !('link' in child)

export class ImageWriter {
  readonly #volume: Volume
  readonly #problems: Problems
  readonly #arena: Uint8Array
  readonly #arenaBlocks: number
  #used = 0
  #children = 0
  #weight = 0
  #jobs: Job[] = []
  #job: OpenJob | undefined
  #large: Large[] = []
  readonly #failed = new Set<DirRef>()
  /** A file of so many blocks did not fit. */
  #tooMany = Number.POSITIVE_INFINITY
  /** Files, directories and links that are made. */
  made = 0
  bytes = 0

  constructor(volume: Volume, problems: Problems) {
    this.#volume = volume
    this.#problems = problems
    const { blocksize } = volume.geometry
    this.#arenaBlocks = Math.max(ARENA / blocksize, (2 * LARGE) / blocksize)
    this.#arena = new Uint8Array(new SharedArrayBuffer(this.#arenaBlocks * blocksize))
  }

  /** Files made and on their way. */
  get progress(): number {
    return this.made + this.#children
  }

  /**
   * Room for `blocks` blocks of content of the next child, to be filled whole. What is in it then belongs to that child.
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

  /** What was put is enough for a transaction. */
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
   * Put a file into a directory. Its content, if it has some, was filled into `room` just before.
   * @param exists  what is to be done where the name may exist: directories that are not new ask for it
   */
  put(dir: DirRef, child: Child, exists?: 'replace'): void {
    if (isNew(child) && child.large) {
      this.#large.push({ dir, file: child, content: child.large })
      return
    }
    const blocks = blocksOf(child)
    if (this.#full && blocks === 0) this.commit()
    const job = this.#jobFor(dir)
    assert(blocks === 0 || placeOf(child) === this.#used, 'content that is not where it was put')
    this.#used += blocks
    if (exists === 'replace') job.replaced.add(child.name)
    job.children.push(child)
    job.end = this.#used
    this.#children++
    this.#weight += weightOf(child, this.#volume.geometry.inodesize)
  }

  /** The children of a directory are complete. */
  #finishJob(): void {
    const job = this.#job
    this.#job = undefined
    if (job && job.children.length > 0) this.#jobs.push(job)
  }

  /** The directory's inode, made now if it is waiting to be. */
  inoOf(dir: DirRef): Ino | undefined {
    if (dir.ino === undefined) this.commit()
    return dir.ino
  }

  /** A transaction for changes that belong to this work. */
  within(action: (tx: Transaction) => void): void {
    this.commit()
    withTransaction(this.#volume, action)
  }

  /** An empty directory makes room. @throws XfsError NOTEMPTY, PERM, NOSPC */
  removeDirectory(dir: DirRef, name: Uint8Array): void {
    this.commit()
    this.#remove(dir, name, true)
  }

  /** Everything that was put is on its way to the device. */
  commit(): void {
    this.#finishJob()
    const jobs = this.#jobs
    this.#jobs = []
    if (jobs.length > 0) this.#all(jobs)
    // Whoever put them may remember them to the end, as names of an archive are.
    for (const { children } of jobs) for (const child of children) forgetParts(child)
    this.#used = 0
    this.#children = 0
    this.#weight = 0
  }

  /** The work was stopped: what is committed stays, and there is no more. */
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

  /** All in one transaction; or in halves, down to a single child, and what cannot be is told. @throws what is not a refusal of the image */
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

  /** On a full image not every file needs to be tried: what takes as many blocks as one that did not fit does not fit either. */
  #requireRoom(blocks: number): void {
    if (blocks > 0 && blocks >= this.#tooMany) throw new XfsError('NOSPC', `no space: ${blocks} blocks are needed`)
  }

  /** It could not be made, which was told: nor can what is in it. */
  failed(dir: DirRef): boolean {
    return this.#failed.has(dir)
  }

  #now(jobs: readonly Job[]): void {
    for (const { children } of jobs) for (const child of children) if (isNew(child)) child.ino = undefined
    let left: Ino[]
    try {
      left = withTransaction(this.#volume, (tx) => this.#run(tx, jobs))
    } catch (error) {
      for (const { children } of jobs) for (const child of children) if (isNew(child)) child.ino = undefined
      throw error
    }
    for (const ino of left) finishRemoval(this.#volume, ino)
    this.#count(jobs)
  }

  /** A child that cannot be made: what is only too large for one transaction is made in several. */
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

  /** A file with attributes larger than the log: each in a transaction of its own. What is not complete does not stay. */
  #inParts(job: Job, child: Child & NewChild, attrs: NonNullable<NewChild['attrs']>): void {
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

  /** Make the children of jobs. @returns inodes that are to be freed once it is committed */
  #run(tx: Transaction, jobs: readonly Job[]): Ino[] {
    const volume = this.#volume
    const { blocksize } = volume.geometry
    const removed = new Map<Ino, Inode>()
    for (const { dir, children, replaced } of jobs) {
      for (const { name } of children) {
        if (!replaced.has(name)) continue
        const inode = openInode(volume, dir.ino as Ino, tx)
        if (!lookup(inode, name, tx)) continue
        const old = removeIn(tx, inode, name, false)
        removed.set(old.ino, old)
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
      })),
    )
    // Only now: a hard link among the children may be to one of them.
    return [...removed.values()].map((inode) => release(tx, inode)).filter((ino) => ino !== undefined)
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
    if (dir.ino === undefined) return // It could not be made, which was told.
    const volume = this.#volume
    let complete = false
    let content: LargeContent | undefined
    try {
      content = open()
      if (content.dense) requireBlocks(volume, unitsFor(content.size, volume.geometry.blocksize))
      const ino = this.#makeUnnamed(dir.ino, file)
      yield* this.#writeContent(ino, content)
      this.#nameComplete(dir, file, ino, content.size)
      complete = true
    } catch (error) {
      if (error instanceof XfsError && error.code === 'IO') throw error
      this.#problems.add(file.path, error)
    } finally {
      content?.close(complete)
      // What is not complete does not stay, also where the work was stopped.
      if (!complete) {
        this.#failed.add(file as DirRef)
        if (file.ino !== undefined) finishRemoval(volume, file.ino)
        file.ino = undefined
      }
    }
  }

  /** The file, with all but its content and its name. */
  #makeUnnamed(dir: Ino, file: Child & NewChild): Ino {
    const volume = this.#volume
    const { mode, uid, gid, attrs = [] } = file
    const ino = withTransaction(volume, (tx) => {
      const inode = createUnnamed(tx, openInode(volume, dir, tx), mode)
      updateInode(tx, inode, { mode, uid, gid })
      file.generation = inode.generation
      return inode.ino
    })
    file.ino = ino
    for (const attr of attrs) withTransaction(volume, (tx) => setAttr(tx, openInode(volume, ino, tx), attr, attr.value))
    return ino
  }

  #nameComplete(dir: DirRef, { name, atime, mtime }: NewChild, ino: Ino, size: Bytes): void {
    const volume = this.#volume
    const replaced = withTransaction(volume, (tx) => {
      const inode = openInode(volume, ino, tx)
      const into = openInode(volume, dir.ino as Ino, tx)
      const left = nameIn(tx, into, name, inode)
      if (dir.times) updateInode(tx, into, dir.times)
      updateInode(tx, inode, { size, atime, mtime })
      return left
    })
    this.made++
    if (replaced !== undefined) finishRemoval(volume, replaced)
  }

  /** The content, in whole blocks, a buffer full of them at a time: of a file with holes that is many runs. */
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
        // The block that the data before have ended in goes on.
        const goesOn = last && last.startoff + last.blockcount - 1 === block
        if (!goesOn && (used * blocksize === buffer.length || runs.length === RUNS)) yield flush()
        const start = (goesOn ? used - 1 : used) * blocksize
        const room = buffer.subarray(start + skip)
        const have = content.read(room.subarray(0, capped(subtract(length, done), room.length)), position)
        if (have === 0) break
        if (!goesOn) buffer.fill(0, start, start + skip)
        const blocks = Math.ceil((skip + have) / blocksize)
        buffer.fill(0, start + skip + have, start + blocks * blocksize)
        const more = goesOn ? blocks - 1 : blocks
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

  /** Runs of blocks, in as few transactions as take them. */
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

/** Of runs that follow each other in the arena the blocks [from, from + count). */
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

/** A job for some children of another, which follow each other there. */
function part(job: Job, children: Child[]): Job {
  const start = children.map(placeOf).find((place) => place !== undefined) ?? job.start
  const end = start + children.reduce((sum, child) => sum + blocksOf(child), 0)
  return { ...job, children, start, end }
}
