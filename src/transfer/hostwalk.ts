import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs'
import type { Xattr } from '../attr/xattrs.ts'
import { deviceNumbers } from '../device/devicenumbers.ts'
import { native } from '../device/native.ts'
import type { Timestamp } from '../format/time.ts'
import { type Bytes, exact } from '../util/bytes.ts'

/**
 * Trees of the host: each directory, then its files, then its directories. Nothing here depends on
 * an image, and imports are few: a worker runs this too (see readahead.ts).
 */

/** The properties of a file that are known without opening it. */
export interface HostFacts {
  readonly host: Buffer
  readonly name: Buffer
  /** Type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly links: number
  readonly size: Bytes
  /** Allocated bytes. */
  readonly allocated: number
  readonly atime: Timestamp
  readonly mtime: Timestamp
  readonly major: number
  readonly minor: number
  /** Identifies the file of hard links; only for files with several names. */
  readonly identity: string
  /** Directories only: the number of the directory in `enter`. */
  readonly id: number
}

/** A file of the host; properties are read on demand. */
export class HostFile {
  readonly facts: HostFacts

  constructor(facts: HostFacts) {
    this.facts = facts
  }

  /** The target of a symbolic link. @throws an error of the host, as do those below */
  target(): Uint8Array {
    return readlinkSync(this.facts.host, { encoding: 'buffer' })
  }

  /** Empty if they cannot be read here. */
  xattrs(): readonly Xattr[] {
    const calls = native()
    const { host } = this.facts
    if (!calls) return []
    return calls
      .listXattrs(host)
      .filter(isCopied)
      .map((name) => ({ name, value: calls.getXattr(host, name) }))
  }

  /** Read the content, up to the size of the buffer. @returns bytes */
  read(into: Uint8Array): number {
    const fd = openSync(this.facts.host, READ)
    try {
      let have = 0
      while (have < into.length) {
        const count = readSync(fd, into, have, into.length - have, have)
        if (count === 0) break
        have += count
      }
      return have
    } finally {
      closeSync(fd)
    }
  }
}

/** Attributes that are not copied: the second form of ACLs in XFS, and those of NFS. */
const isCopied = (name: Uint8Array): boolean => {
  const text = Buffer.from(name.buffer, name.byteOffset, name.byteLength).toString('latin1')
  return text !== 'trusted.SGI_ACL_FILE' && text !== 'trusted.SGI_ACL_DEFAULT' && !text.startsWith('system.nfs')
}

export const READ = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)

export type WalkItem =
  | { readonly kind: 'file'; readonly file: HostFile }
  /** The following files are in this directory. */
  | { readonly kind: 'enter'; readonly id: number }
  /** A file of the directory, or (without a name) the directory itself, cannot be read. */
  | { readonly kind: 'problem'; readonly name: Buffer; readonly message: string }

/** A directory that was not entered yet. */
export interface PendingDirectory {
  readonly id: number
  readonly host: Uint8Array
  /** Its device. */
  readonly device: bigint
}

export interface Walk {
  /** The last one is next. */
  readonly places: PendingDirectory[]
  /** The highest directory number so far. */
  lastId: number
  readonly oneFileSystem: boolean
}

const SLASH = Buffer.from('/')
const NANOS = 1_000_000_000n
const NO_DEVICE = { major: 0n, minor: 0n }

/** Walk the trees. Stops before a directory after at least `limit` files, if any are left. */
export function* walkHost(walk: Walk, limit = Number.POSITIVE_INFINITY): Generator<WalkItem> {
  const { places } = walk
  let count = 0
  for (let next = places.pop(); next; next = places.pop()) {
    let names: Buffer[] = []
    let fault: unknown
    try {
      names = readdirSync(next.host as Buffer, { encoding: 'buffer' }) as unknown as Buffer[]
      // Sorted: the same tree gives the same image, for any order of names on the host.
      names.sort(Buffer.compare)
    } catch (error) {
      fault = error
    }
    count += names.length
    if (count > limit) {
      places.push(next)
      return
    }
    yield { kind: 'enter', id: next.id }
    if (fault !== undefined) yield { kind: 'problem', name: Buffer.alloc(0), message: hostMessage(fault) }
    const prefix = Buffer.concat([next.host, SLASH])
    const below: PendingDirectory[] = []
    for (const name of names) {
      const host = Buffer.concat([prefix, name])
      let stats: BigIntStats
      try {
        stats = lstatSync(host, { bigint: true })
      } catch (error) {
        yield { kind: 'problem', name, message: hostMessage(error) }
        continue
      }
      if (walk.oneFileSystem && stats.dev !== next.device) continue
      const id = stats.isDirectory() ? ++walk.lastId : 0
      if (id > 0) below.push({ id, host, device: stats.dev })
      yield { kind: 'file', file: new HostFile(factsOf(host, name, stats, id)) }
    }
    for (let place = below.pop(); place; place = below.pop()) places.push(place)
  }
}

export function factsOf(host: Buffer, name: Buffer, stats: BigIntStats, id: number): HostFacts {
  const links = Number(stats.nlink)
  const { major, minor } = stats.rdev === 0n ? NO_DEVICE : deviceNumbers(stats.rdev)
  return {
    host,
    name,
    mode: Number(stats.mode),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    links,
    size: exact(stats.size),
    allocated: Number(stats.blocks) * 512,
    atime: timestamp(stats.atimeNs),
    mtime: timestamp(stats.mtimeNs),
    major: Number(major),
    minor: Number(minor),
    identity: links > 1 ? `${stats.dev}:${stats.ino}` : '',
    id,
  }
}

function timestamp(time: bigint): Timestamp {
  let seconds = time / NANOS
  let rest = time % NANOS
  if (rest < 0n) {
    seconds -= 1n
    rest += NANOS
  }
  return { seconds: Number(seconds), nanoseconds: Number(rest) }
}

/** The message of a failed call, without the path that Node appends. */
export const hostMessage = (error: unknown): string => {
  const { message, code } = error as NodeJS.ErrnoException
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied'
  if (code === 'ENOSPC' || code === 'EDQUOT') return "no space left on the host's disk"
  if (code === 'EEXIST') return 'a file of that name exists'
  return code === 'ENOENT' ? 'no such file' : message.replace(/^([^']*?),? '.*$/s, '$1')
}
