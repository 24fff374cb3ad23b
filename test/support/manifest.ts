import { createHash } from 'node:crypto'
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
import { flagLetters } from '../../src/attr/setattr.ts'
import { xattrs } from '../../src/attr/xattrs.ts'
import { fileChunks } from '../../src/data/data.ts'
import { FILE_TYPES, S_IFMT } from '../../src/format/dinode.ts'
import type { Timestamp } from '../../src/format/time.ts'
import { deviceNumber, extentCount, type Inode } from '../../src/inode/inode.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { readSymlink } from '../../src/symlink.ts'
import type { Syscalls } from './syscalls.ts'

/**
 * All properties of a tree, one line per name: from a folder of the host, or from an image. Trees
 * are equal if their lines are.
 */
export interface ManifestOptions {
  /**
   * Also properties that only XFS has: inode numbers, all times, flags, hints, extents with their
   * places. They differ in copies.
   */
  readonly exact?: boolean
  /** Without the hashes of file contents. */
  readonly contents?: false
}

interface Facts {
  /** One character per byte. */
  readonly path: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly size: number
  readonly mtime: bigint
  readonly device?: string | undefined
  readonly target?: string | undefined
  readonly hash?: string | undefined
  readonly xattrs: readonly string[]
  readonly exact?: readonly string[]
}

/** A hash of a file's data that is not zero, with its offsets. So it does not depend on holes. */
class ContentHash {
  readonly #hash = createHash('sha256')

  /** `offset` is a multiple of the unit; so is the length, except at EOF. */
  add(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += UNIT) {
      const part = bytes.subarray(at, at + UNIT)
      if (ZEROS.subarray(0, part.length).compare(part) === 0) continue
      this.#hash.update(`${offset + at}:`)
      this.#hash.update(part)
    }
  }

  text(): string {
    return this.#hash.digest('hex').slice(0, 16)
  }
}

const UNIT = 1024
const ZEROS = Buffer.alloc(UNIT)

const sha = (): ReturnType<typeof createHash> => createHash('sha256')
const short = (bytes: Uint8Array): string => sha().update(bytes).digest('hex').slice(0, 16)
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

function line({ path, mode, uid, gid, nlink, size, mtime, device, target, hash, xattrs: list, exact }: Facts): string {
  const isDirectory = (mode & S_IFMT) === FILE_TYPES.dir
  const parts = [
    JSON.stringify(path), mode.toString(8), `${uid}:${gid}`, `links ${nlink}`, ...(isDirectory && !exact ? [] : [`size ${size}`]), `mtime ${mtime}`,
    ...(device ? [`device ${device}`] : []), ...(target === undefined ? [] : [`-> ${JSON.stringify(target)}`]), ...(hash ? [hash] : []),
    ...[...list].sort(), ...(exact ?? []),
  ] // biome-ignore format: one line
  return parts.join(' ')
}

const byPath = (a: Facts, b: Facts): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)

/** Attributes that XFS shows for ACLs in addition, and those that are private to the kernel. */
const isShown = (name: Uint8Array): boolean => !/^trusted\.(SGI_ACL_|xfs:)/.test(latin1(name))

const xattrText = (name: Uint8Array, value: Uint8Array): string =>
  `${JSON.stringify(latin1(name))}=${value.length}:${short(value)}`

// ------------------------------------------------------------------------------------- of a folder

/** A folder of the host, through system calls. */
export function hostManifest(root: string, calls: Syscalls, options: ManifestOptions = {}): string[] {
  const found: Facts[] = []
  const hashes = new Map<bigint, string>()
  const visit = (path: Buffer): void => {
    const where = path.length === 0 ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), path])
    const stat = lstatSync(where, { bigint: true })
    found.push(hostFacts(path, where, stat, calls, options, hashes))
    if (!stat.isDirectory()) return
    for (const name of readdirSync(where, { encoding: 'buffer' }))
      visit(path.length === 0 ? name : Buffer.concat([path, Buffer.from('/'), name]))
  }
  visit(Buffer.alloc(0))
  return found.sort(byPath).map(line)
}

function hostFacts(
  path: Buffer,
  where: Buffer,
  stat: BigIntStats,
  calls: Syscalls,
  options: ManifestOptions,
  hashes: Map<bigint, string>,
): Facts {
  const isDevice = stat.isBlockDevice() || stat.isCharacterDevice()
  const hash = stat.isFile() ? (hashes.get(stat.ino) ?? hashFile(where, Number(stat.size), calls)) : undefined
  if (hash) hashes.set(stat.ino, hash)
  return {
    path: latin1(path),
    mode: Number(stat.mode),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    nlink: Number(stat.nlink),
    size: Number(stat.size),
    mtime: stat.mtimeNs,
    device: isDevice ? `${deviceMajor(stat.rdev)},${deviceMinor(stat.rdev)}` : undefined,
    target: stat.isSymbolicLink() ? readlinkSync(where, { encoding: 'latin1' }) : undefined,
    hash,
    xattrs: calls
      .listXattrs(where)
      .filter(isShown)
      .map((name) => xattrText(name, calls.getXattr(where, name))),
    ...(options.exact ? { exact: hostExact(where, stat, calls) } : {}),
  }
}

const deviceMajor = (rdev: bigint): bigint => ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)
const deviceMinor = (rdev: bigint): bigint => (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)

const DATA = 3
const HOLE = 4

function hashFile(path: Buffer, size: number, calls: Syscalls): string {
  const hash = new ContentHash()
  return withFile(path, (fd) => {
    const piece = Buffer.alloc(2 ** 20)
    for (let at = calls.seek(fd, 0, DATA); at !== undefined && at < size; at = calls.seek(fd, at, DATA)) {
      const end = calls.seek(fd, at, HOLE) ?? size
      for (let have = 0; at < end; at += have) {
        have = readSync(fd, piece, 0, Math.min(piece.length, end - at), at)
        if (have === 0) break
        hash.add(at, piece.subarray(0, have))
      }
    }
    return hash.text()
  })
}

function withFile<T>(path: Buffer, use: (fd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

const FSGETXATTR = 0x801c581f
const FIEMAP = 0xc020660b
const XFLAGS: ReadonlyMap<string, number> = new Map(
  flagLetters.map(([letter, word, bit]) => [
    letter,
    letter === 'x' ? 0x8000 : letter === 'C' ? 0x10000 : word === 'flags' ? bit : 0,
  ]),
)

function hostExact(where: Buffer, stat: BigIntStats, calls: Syscalls): string[] {
  const facts = exactText(Number(stat.ino), stat.atimeNs, stat.ctimeNs, stat.birthtimeNs, Number(stat.blocks) * 512)
  if (!stat.isFile() && !stat.isDirectory()) return facts
  return withFile(where, (fd) => {
    const words = Buffer.alloc(28)
    calls.ioctl(fd, FSGETXATTR, words)
    const [xflags = 0, extsize = 0, extents = 0, projid = 0, cowextsize = 0] = Array.from({ length: 5 }, (_, i) =>
      words.readUInt32LE(i * 4),
    )
    const flags = flagLetters.map(([letter]) => (xflags & (XFLAGS.get(letter) ?? 0) ? letter : '-')).join('')
    return [
      ...facts,
      ...attributeText(flags, projid, extsize, cowextsize),
      ...(stat.isFile() ? [`extents ${extents}`, ...hostMap(fd, calls)] : []),
    ]
  })
}

function* hostMap(fd: number, calls: Syscalls): Generator<string> {
  const most = 4096
  const words = Buffer.alloc(32 + most * 56)
  const runs: MapRun[] = []
  for (let from = 0n; ; ) {
    words.fill(0)
    words.writeBigUInt64LE(from, 0)
    words.writeBigUInt64LE(2n ** 63n - 1n - from, 8)
    words.writeUInt32LE(most, 24)
    calls.ioctl(fd, FIEMAP, words)
    const count = words.readUInt32LE(20)
    for (let i = 0; i < count; i++) {
      const at = 32 + i * 56
      const flags = words.readUInt32LE(at + 40)
      const start = words.readBigUInt64LE(at)
      const length = words.readBigUInt64LE(at + 16)
      from = start + length
      // Data inside the inode has no place.
      if (length > 0n) {
        runs.push({
          start: Number(start),
          physical: Number(words.readBigUInt64LE(at + 8)),
          length: Number(length),
          unwritten: (flags & 0x800) !== 0,
          shared: (flags & 0x2000) !== 0,
        })
      }
    }
    if (count < most) break
  }
  yield* mapText(runs)
}

// ------------------------------------------------------------------------------------- of an image

/** An image, as we read it. */
export function imageManifest(top: Inode, options: ManifestOptions = {}): string[] {
  const found: Facts[] = []
  const known = new Map<number, Facts>()
  for (const { path, inode } of walkTree(top)) {
    const facts = known.get(inode.ino) ?? imageFacts(inode, options)
    if (inode.nlink > 1 && !inode.isDirectory) known.set(inode.ino, facts)
    found.push({ ...facts, path: latin1(path) })
  }
  return found.sort(byPath).map(line)
}

const nanoseconds = ({ seconds, nanoseconds: rest }: Timestamp): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(rest)

function imageFacts(inode: Inode, options: ManifestOptions): Facts {
  const isDevice = inode.type === FILE_TYPES.blk || inode.type === FILE_TYPES.chr
  const { major, minor } = isDevice ? deviceNumber(inode) : { major: 0, minor: 0 }
  return {
    path: '',
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    nlink: inode.nlink,
    size: Number(inode.size),
    mtime: nanoseconds(inode.mtime),
    device: isDevice ? `${major},${minor}` : undefined,
    target: inode.isSymlink ? latin1(readSymlink(inode)) : undefined,
    hash: inode.isRegular && options.contents !== false ? hashImage(inode) : undefined,
    xattrs: [...xattrs(inode)].filter(({ name }) => isShown(name)).map(({ name, value }) => xattrText(name, value)),
    ...(options.exact ? { exact: imageExact(inode) } : {}),
  }
}

function hashImage(inode: Inode): string {
  const hash = new ContentHash()
  for (const { offset, bytes } of fileChunks(inode)) if (bytes) hash.add(Number(offset), bytes)
  return hash.text()
}

function imageExact(inode: Inode): string[] {
  const { blocksize, fsbToDaddr } = inode.volume.geometry
  const facts = exactText(
    inode.ino,
    nanoseconds(inode.atime),
    nanoseconds(inode.ctime),
    inode.crtime && nanoseconds(inode.crtime),
    inode.nblocks * blocksize,
  )
  if (!inode.isRegular && !inode.isDirectory) return facts
  const flags = flagLetters.map(([letter, word, bit]) => ((inode[word] & bit) !== 0 ? letter : '-')).join('')
  const runs = inode.isRegular
    ? Array.from(mappedRuns(inode), ({ startoff, startblock, blockcount, unwritten, shared }): MapRun => ({
        start: startoff * blocksize, physical: fsbToDaddr(startblock) * 512, length: blockcount * blocksize, unwritten, shared,
      })) // biome-ignore format: one line
    : []
  return [
    ...facts,
    ...attributeText(flags, inode.projid, inode.extsize * blocksize, inode.cowextsize * blocksize),
    ...(inode.isRegular ? [`extents ${extentCount(inode, 'data')}`, ...mapText(runs)] : []),
  ]
}

// -------------------------------------------------------------------------------------------- both

interface MapRun {
  readonly start: number
  readonly physical: number
  readonly length: number
  readonly unwritten: boolean
  readonly shared: boolean
}

const exactText = (ino: number, atime: bigint, ctime: bigint, birth: bigint | undefined, bytes: number): string[] => [
  `ino ${ino}`, `atime ${atime}`, `ctime ${ctime}`, ...(birth === undefined ? [] : [`birth ${birth}`]), `bytes ${bytes}`,
] // biome-ignore format: one line

const attributeText = (flags: string, projid: number, extsize: number, cowextsize: number): string[] => [
  flags, `project ${projid}`, `hints ${extsize},${cowextsize}`,
] // biome-ignore format: one line

/**
 * Merge contiguous runs: the kernel separates them at the end of a record, we separate them where
 * sharing changes.
 */
function* mapText(runs: readonly MapRun[]): Generator<string> {
  let last: MapRun | undefined
  const text = (run: MapRun): string =>
    `${run.unwritten ? 'u' : run.shared ? 's' : 'w'}${run.start}+${run.length}@${run.physical}`
  for (const run of runs) {
    if (
      last &&
      last.start + last.length === run.start &&
      last.physical + last.length === run.physical &&
      last.unwritten === run.unwritten &&
      last.shared === run.shared
    ) {
      last = { ...last, length: last.length + run.length }
      continue
    }
    if (last) yield text(last)
    last = run
  }
  if (last) yield text(last)
}

/** The first lines that differ, for a message; empty if none do. */
export function differences(ours: readonly string[], theirs: readonly string[], most = 10): string {
  const mine = new Set(ours)
  const other = new Set(theirs)
  const lines = [
    ...ours.filter((text) => !other.has(text)).map((text) => `- ${text}`),
    ...theirs.filter((text) => !mine.has(text)).map((text) => `+ ${text}`),
  ]
  if (ours.length !== theirs.length) lines.unshift(`${ours.length} lines, expected ${theirs.length}`)
  return lines
    .slice(0, most)
    .map((text) => text.slice(0, 2000))
    .join('\n')
}
