import { Header } from 'tar/header'
import { aclFromProgram, aclToText } from '../attr/acl.ts'
import { fileChunks, segments } from '../data/data.ts'
import { XfsError } from '../errors.ts'
import { FILE_TYPES } from '../format/dinode.ts'
import { deviceNumber, type Inode } from '../inode/inode.ts'
import { readSymlink } from '../symlink.ts'
import { add, type Bytes } from '../util/bytes.ts'
import type { Steps } from '../util/progress.ts'
import { SinkError } from './bytesink.ts'
import type { CopyProblems } from './copyproblems.ts'
import { isDevice, type Outgoing, outgoing, outgoingXattrs, requireCopyable } from './fromimage.ts'
import { buildPax, latin1, type PaxRecord, paxKeyOf, paxTime } from './pax.ts'

/**
 * Write trees of an image as a tar archive: ustar with the extended headers of pax. It stores times
 * in nanoseconds, numbers of any size, names of any bytes, attributes (SCHILY.xattr, SCHILY.acl)
 * and holes (GNU.sparse 1.0). GNU tar (with `--xattrs --acls`), bsdtar and `put` read it.
 */
interface ToTarOptions {
  readonly xattrs: boolean
  readonly devices: boolean
}

const BLOCK = 512
const RECORD = 10240
/** The fields of a header. */
const MAX_ID = 0o7777777
const MAX_SIZE = 0o77777777777
const MAX_NAME = 100

const flags: Readonly<Record<number, string>> = {
  [FILE_TYPES.reg]: '0', [FILE_TYPES.lnk]: '2', [FILE_TYPES.chr]: '3', [FILE_TYPES.blk]: '4', [FILE_TYPES.dir]: '5', [FILE_TYPES.fifo]: '6',
} // biome-ignore format: a table

export class TarWriter {
  readonly #sink: (bytes: Uint8Array) => void
  readonly #options: ToTarOptions
  readonly #problems: CopyProblems
  #written = 0
  readonly count = { files: 0, bytes: 0 }

  constructor(sink: (bytes: Uint8Array) => void, options: ToTarOptions, problems: CopyProblems) {
    this.#sink = sink
    this.#options = options
    this.#problems = problems
  }

  /** Write a file or tree; its paths begin with `prefix` (empty: `./`). */
  *write(top: Inode, prefix: Uint8Array): Steps<void> {
    const walk = outgoing(top, (path, error) => this.#problems.add(named(prefix, path, false), error))
    for (let step = walk.next(); !step.done; ) {
      const { kind, file } = step.value
      let left = false
      if (kind !== 'leave') {
        try {
          left = !(yield* this.#entry(file, prefix))
        } catch (error) {
          if (!(error instanceof XfsError) || error instanceof SinkError) throw error
          left = true
          this.#problems.add(named(prefix, file.path, false), error)
        }
        yield { what: 'copying', done: this.count.files }
      }
      step = walk.next(left)
    }
  }

  /** Write the end of the archive. */
  end(): void {
    this.#put(new Uint8Array(2 * BLOCK))
    this.#put(new Uint8Array((RECORD - (this.#written % RECORD)) % RECORD))
  }

  #put(bytes: Uint8Array): void {
    this.#sink(bytes)
    this.#written += bytes.length
  }

  #pad(size: number): void {
    const rest = size % BLOCK
    if (rest > 0) this.#put(new Uint8Array(BLOCK - rest))
  }

  /** @returns false if it is skipped as requested */
  *#entry({ inode, path, linkTo }: Outgoing, prefix: Uint8Array): Steps<boolean> {
    if (isDevice(inode) && !this.#options.devices) return false
    if (flags[inode.type] === undefined)
      throw new XfsError('UNSUPPORTED', 'a socket: tar archives cannot store it', { ino: inode.ino })
    const name = named(prefix, path, inode.isDirectory)
    if (linkTo) this.#header(inode, name, '1', { link: named(prefix, linkTo, false) })
    else if (inode.isRegular) yield* this.#regular(inode, name)
    else {
      const link = inode.isSymlink ? readSymlink(inode) : undefined
      this.#header(inode, name, flags[inode.type] as string, {
        ...(link ? { link } : {}),
        records: this.#attributes(inode),
      })
    }
    this.count.files++
    return true
  }

  *#regular(inode: Inode, name: Uint8Array): Steps<void> {
    requireCopyable(inode)
    const runs = [...segments(inode)]
      .filter((segment) => segment.extent !== undefined)
      .map(({ offset, length }) => ({ offset, length }))
    const data = runs.reduce((sum, { length }) => sum + Number(length), 0)
    const sparse = data < inode.size
    const records = this.#attributes(inode)
    if (sparse) {
      const map = mapOf(runs, inode.size)
      const extra: PaxRecord[] = [
        ['GNU.sparse.major', Buffer.from('1')],
        ['GNU.sparse.minor', Buffer.from('0')],
        ['GNU.sparse.name', name],
        ['GNU.sparse.realsize', Buffer.from(String(inode.size))],
      ]
      this.#header(inode, inDirectory(name), '0', { size: map.length + data, records: [...extra, ...records] })
      this.#put(map)
    } else this.#header(inode, name, '0', { size: Number(inode.size), records })
    yield* this.#content(inode, name, sparse ? data : Number(inode.size))
  }

  /** The header has the number of bytes: write exactly that many, even if reading fails. */
  *#content(inode: Inode, name: Uint8Array, size: number): Steps<void> {
    let done = 0
    try {
      for (const { bytes } of fileChunks(inode)) {
        if (!bytes) continue
        this.#put(bytes)
        done += bytes.length
        this.count.bytes += bytes.length
        yield { what: 'copying', done: this.count.files }
      }
    } catch (error) {
      if (!(error instanceof XfsError) || error instanceof SinkError) throw error
      this.#problems.add(name, `${error.message}; the rest of it is zeros in the archive`)
    }
    for (; done < size; done += Math.min(ZEROS.length, size - done))
      this.#put(ZEROS.subarray(0, Math.min(ZEROS.length, size - done)))
    this.#pad(size)
  }

  #attributes(inode: Inode): PaxRecord[] {
    if (!this.#options.xattrs) return []
    return Array.from(outgoingXattrs(inode), ({ name, value }): PaxRecord => {
      const text = latin1(name)
      if (text === 'system.posix_acl_access')
        return ['SCHILY.acl.access', Buffer.from(aclToText(aclFromProgram(value)))]
      if (text === 'system.posix_acl_default')
        return ['SCHILY.acl.default', Buffer.from(aclToText(aclFromProgram(value)))]
      return [`SCHILY.xattr.${paxKeyOf(name)}`, value]
    })
  }

  #header(
    inode: Inode,
    name: Uint8Array,
    flag: string,
    more: { link?: Uint8Array; size?: number; records?: readonly PaxRecord[] },
  ): void {
    const { uid, gid, atime, mtime } = inode
    const { link, size = 0 } = more
    // A hard link has no device numbers.
    const device = flag === '3' || flag === '4' ? deviceNumber(inode) : undefined
    const records: PaxRecord[] = []
    const text = (key: string, value: string | number): void => void records.push([key, Buffer.from(String(value))])
    if (!isPlain(name)) records.push(['path', name])
    if (link && !isPlain(link)) records.push(['linkpath', link])
    if (!isUtf8(name) || (link && !isUtf8(link))) records.unshift(['hdrcharset', Buffer.from('BINARY')])
    if (mtime.nanoseconds !== 0 || mtime.seconds < 0 || mtime.seconds > MAX_SIZE) text('mtime', paxTime(mtime))
    if (atime.seconds !== mtime.seconds || atime.nanoseconds !== mtime.nanoseconds) text('atime', paxTime(atime))
    if (uid > MAX_ID) text('uid', uid)
    if (gid > MAX_ID) text('gid', gid)
    if (size > MAX_SIZE) text('size', size)
    if (device && device.major > MAX_ID) text('SCHILY.devmajor', device.major)
    records.push(...(more.records ?? []))
    if (records.length > 0) {
      const body = buildPax(records)
      this.#block('x', {
        path: shortened(name, 'PaxHeaders/'),
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: body.length,
        mtime: 0,
      })
      this.#put(body)
      this.#pad(body.length)
    }
    this.#block(flag, {
      path: isPlain(name) ? latin1(name) : shortened(name, ''),
      ...(link ? { linkpath: isPlain(link) ? latin1(link) : shortened(link, '') } : {}),
      mode: inode.mode & 0o7777,
      uid: Math.min(uid, MAX_ID),
      gid: Math.min(gid, MAX_ID),
      size: size > MAX_SIZE ? 0 : size,
      mtime: Math.min(Math.max(mtime.seconds, 0), MAX_SIZE),
      ...(device ? { devmaj: Math.min(device.major, MAX_ID), devmin: device.minor } : {}),
    })
  }

  #block(
    flag: string,
    {
      mtime,
      ...fields
    }: {
      path: string
      linkpath?: string
      mode: number
      uid: number
      gid: number
      size: number
      mtime: number
      devmaj?: number
      devmin?: number
    },
  ): void {
    const header = new Header({ ...fields, mtime: new Date(mtime * 1000), type: flag as NonNullable<Header['type']> })
    const block = Buffer.alloc(BLOCK)
    header.encode(block, 0)
    this.#put(block)
  }
}

const ZEROS = new Uint8Array(2 ** 16)

/** A short name of portable characters, which the header stores as it is. */
const isPlain = (name: Uint8Array): boolean =>
  name.length <= MAX_NAME && name.every((byte) => byte >= 0x20 && byte < 0x7f)

const isUtf8 = (name: Uint8Array): boolean => Buffer.from(Buffer.from(name).toString('utf8')).equals(name)

/** A substitute for a long or unusual name, for readers without extended headers. */
const shortened = (name: Uint8Array, prefix: string): string =>
  prefix +
  latin1(name)
    .replace(/[^ -~]/g, '_')
    .replace(/\/$/, '')
    .slice(-(MAX_NAME - prefix.length - 1))
    .replace(/^\/+/, '_')

const SLASH = Buffer.from('/')

function named(prefix: Uint8Array, path: Uint8Array, isDirectory: boolean): Uint8Array {
  const parts = [prefix, path].filter((part) => part.length > 0)
  const joined = Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [SLASH, part])))
  const whole = joined.length === 0 ? Buffer.from('.') : joined
  return isDirectory ? Buffer.concat([whole, SLASH]) : whole
}

/** The name that GNU tar gives to sparse files, for readers without support for them. */
function inDirectory(name: Uint8Array): Uint8Array {
  const slash = Buffer.from(name).lastIndexOf(0x2f)
  return Buffer.concat([name.subarray(0, slash + 1), Buffer.from('GNUSparseFile.0/'), name.subarray(slash + 1)])
}

/**
 * The sparse map before the content; as with GNU tar, with an empty range at the end if the file
 * ends in a hole.
 */
function mapOf(runs: readonly { offset: Bytes; length: Bytes }[], size: Bytes): Uint8Array {
  const last = runs.at(-1)
  const all = last && add(last.offset, last.length) === size ? runs : [...runs, { offset: size, length: 0 }]
  const text = Buffer.from(
    [all.length, ...all.flatMap(({ offset, length }) => [offset, length])].join('\n').concat('\n'),
  )
  const padded = Buffer.alloc(Math.ceil(text.length / BLOCK) * BLOCK)
  text.copy(padded)
  return padded
}
