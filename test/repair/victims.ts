import { setXattr } from '../../src/attr/xattrs.ts'
import { Cursor } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { check } from '../../src/check/check.ts'
import { ATTR_FORK } from '../../src/check/extents.ts'
import { describe } from '../../src/check/findings.ts'
import { type Inodes, S_IFDIR, S_IFLNK, S_IFMT } from '../../src/check/observe/inodetable.ts'
import type { ObservedAg } from '../../src/check/observe/observation.ts'
import { readFile } from '../../src/data/data.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { XfsError } from '../../src/errors.ts'
import { AG_SECTORS, Agf, Agfl, Agi } from '../../src/format/ag.ts'
import { OWNERS } from '../../src/format/btrecs.ts'
import { Dinode } from '../../src/format/dinode.ts'
import { BASIC_BLOCK, type Geometry } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import type { AgTreeName } from '../../src/format/trees.ts'
import { agflSlots, maxRecords } from '../../src/format/treesizes.ts'
import { openInode } from '../../src/inode/inode.ts'
import { addUnlinked } from '../../src/inode/unlinked.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile, link, mkdir, mknod, symlink } from '../../src/namespace/namespace.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { readSymlink } from '../../src/symlink.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { crc32cExcept } from '../../src/util/crc32c.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { allocInode } from '../support/newinode.ts'

/**
 * Small images with files of every kind, and the places in them to damage: each field of each
 * structure that determines the place of something.
 */

const MIB = 2 ** 20

interface Kind {
  readonly megabytes: number
  readonly options: MkfsOptions
  /** Number of unlinked inodes on the AGI unlinked lists. */
  readonly unlinked?: number
}

export const images: Readonly<Record<string, Kind>> = {
  default: { megabytes: 48, options: { agcount: 3 } },
  'no rmapbt': { megabytes: 48, options: { agcount: 3, features: { rmapbt: false } } },
  'neither, 1k': { megabytes: 48, options: { agcount: 3, blocksize: 1024, features: { rmapbt: false, reflink: false } } },
  '1k': { megabytes: 32, options: { agcount: 2, blocksize: 1024 } },
  'one group': { megabytes: 16, options: { agcount: 1, features: { rmapbt: false, finobt: false, inobtcount: false } } },
  unlinked: { megabytes: 32, options: { agcount: 2 }, unlinked: 9 },
} // biome-ignore format: a table

/** Images with parent pointers, which tell the names of files. */
const withParents: Readonly<Record<string, Kind>> = {
  parents: { megabytes: 48, options: { agcount: 3, features: { parent: true } } },
}

export interface Victim {
  readonly device: Device
  readonly geometry: Geometry
  /** Files by path, with their metadata and content. */
  readonly files: ReadonlyMap<string, FileState>
  /** Blocks of each AG with inodes in use or file data: [start, end). */
  readonly owned: readonly (readonly Run[])[]
  /** Unlinked inodes: the only ones that a repair frees. */
  readonly unlinked: ReadonlySet<number>
}

interface Run {
  readonly start: number
  readonly end: number
  /** −1 if the place does not belong to an inode. */
  readonly ino: number
}

export interface FileState {
  readonly ino: number
  readonly content: string
}

/** Bytes that differ between files. */
const bytesOf = (seed: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(seed * 31 + i + 1, 2654435761) >>> 13) & 0xff)
const name = (text: string): Uint8Array => new TextEncoder().encode(text)

const victims = new Map<string, Victim>()

/** The image of a kind, which is made once. */
export function victimOf(kind: string): Victim {
  const made = victims.get(kind) ?? makeVictim(kind)
  victims.set(kind, made)
  return made
}

function makeVictim(kind: string): Victim {
  const { megabytes, options, unlinked = 0 } = { ...images, ...withParents }[kind] as Kind
  const device = memoryDevice(megabytes * MIB)
  mkfs(device, { ...options, generation: 7, time: { seconds: 1, nanoseconds: 0 }, uuid: UUID })
  const volume = Volume.open(device, { write: true })
  const { blocksize } = volume.geometry
  const file = (path: string, seed: number, length: number): number => {
    const { ino } = createFile(volume, path, 0o644)
    writeFile(volume, ino, 0, bytesOf(seed, length))
    return ino
  }
  const plain = file('/plain', 1, 200000)
  const many = createFile(volume, '/many', 0o644).ino
  for (let i = 0; i < 60; i++) writeFile(volume, many, i * 2 * blocksize, bytesOf(100 + i, blocksize))
  for (let d = 0; d < volume.geometry.agcount; d++) {
    mkdir(volume, `/dir${d}`, 0o755)
    for (let i = 0; i < 20; i++) file(`/dir${d}/file ${i}`, 1000 * d + i + 2, 3000 + 1000 * i)
  }
  mkdir(volume, '/leaf', 0o755)
  for (let i = 0; i < 100; i++) createFile(volume, `/leaf/a file with a name that takes room, number ${i}`, 0o600)
  mkdir(volume, '/empty', 0o700)
  symlink(volume, 'plain', '/short')
  symlink(volume, `/${'long/'.repeat(180)}`, '/long')
  mknod(volume, '/fifo', 0o010644)
  link(volume, plain, '/dir0/hard')
  setXattr(volume, plain, name('user.small'), bytesOf(5, 20))
  for (let i = 0; i < 8; i++) setXattr(volume, many, name(`user.leaf${i}`), bytesOf(i, 200))
  setXattr(volume, many, name('user.remote'), bytesOf(9, 9000))
  if (volume.features.has('reflink')) {
    const twin = createFile(volume, '/twin', 0o644).ino
    finish(reflink(volume, plain, twin, { srcOffset: 0, dstOffset: 0, length: 0 }))
    const part = file('/part', 77, 20 * blocksize)
    finish(reflink(volume, many, part, { srcOffset: 0, dstOffset: 4 * blocksize, length: 8 * blocksize }))
  }
  const unlinkedInos = Array.from({ length: unlinked }, (_, i) => unlinkedInode(volume, bytesOf(200 + i, 5000 * i)))
  volume.close()
  const { geometry } = Volume.open(device)
  return {
    device,
    geometry,
    files: filesOf(device),
    owned: ownedBlocks(device, geometry),
    unlinked: new Set(unlinkedInos),
  }
}

function unlinkedInode(volume: Volume, content: Uint8Array): number {
  const ino = withTransaction(volume, (tx) => {
    const inode = allocInode(tx, volume.geometry.sb.rootino, 0o100600, { nlink: 0 })
    addUnlinked(tx, inode)
    return inode.ino
  })
  writeFile(volume, ino, 0, content)
  return ino
}

const UUID = '01234567-89ab-4cde-8f01-23456789abcd'

/** All files with their content. The state of an unreadable file is its error. */
export function filesOf(device: Device): Map<string, FileState> {
  const files = new Map<string, FileState>()
  const volume = Volume.open(device, { needsRepair: true })
  for (const { path, inode } of walkTree(rootDirectory(volume))) {
    let content: string
    try {
      const bytes = inode.isSymlink ? readSymlink(inode) : inode.isDirectory ? name('directory') : readFile(inode)
      content = Buffer.from(bytes).toString('latin1')
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      content = `cannot be read: ${error.message}`
    }
    files.set(`/${Buffer.from(path).toString()}`, { ino: inode.ino, content })
  }
  return files
}

function ownedBlocks(device: Device, geometry: Geometry): Run[][] {
  const { ags, findings } = check(device, geometry)
  const wrong = findings.list.filter(({ id }) => id !== 'agi.unlinked' && id !== 'inode.unreachable')
  if (wrong.length > 0) throw new Error(`the image is damaged from the start: ${wrong.map(describe).join(', ')}`)
  return ags.map(({ ag }) => {
    const runs: Run[] = []
    for (const table of [ag.metadata, ag.mappings]) {
      for (let row = 0; row < table.length; row++) {
        const owner = table.owner.get(row)
        if (owner < 0 && owner !== OWNERS.inodes && owner !== OWNERS.log && owner !== OWNERS.fs) continue
        runs.push({
          start: table.start.get(row),
          end: table.start.get(row) + table.count.get(row),
          ino: Math.max(owner, -1),
        })
      }
    }
    return runs
  })
}

/** Live blocks that the free space btrees list as free. Those of inodes in `freed` are not live. */
export function givenAway(device: Device, { owned }: Victim, freed: ReadonlySet<number> = new Set()): string[] {
  const volume = Volume.open(device, { needsRepair: true })
  const found: string[] = []
  for (const tree of ['bnobt', 'cntbt'] as const) {
    for (const [agno, runs] of owned.entries()) {
      if (runs.length === 0) continue
      const cursor = new Cursor(openTree(volume, tree, agno)) as unknown as Cursor<
        { startblock: number; blockcount: number },
        unknown
      >
      for (let more = cursor.first(); more; more = cursor.next()) {
        const { startblock, blockcount } = cursor.record()
        for (const { start, end, ino } of runs) {
          if (start < startblock + blockcount && startblock < end && !freed.has(ino))
            found.push(
              `${tree} of AG ${agno}: ${startblock}+${blockcount} are free, inode ${ino} has ${start} to ${end}`,
            )
        }
      }
    }
  }
  return found
}

/** Write new files until there is no space left. */
export function fillUp(device: Device): void {
  const volume = Volume.open(device, { write: true, needsRepair: true })
  const piece = new Uint8Array(MIB).fill(0xee)
  for (let length = MIB; length >= volume.geometry.blocksize; length /= 4) {
    try {
      for (let i = 0; ; i++)
        writeFile(volume, createFile(volume, `/filler ${length} ${i}`, 0o600).ino, 0, piece.subarray(0, length))
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
    }
  }
  volume.close()
}

// ------------------------------------------------------------------------------------------ damage

/**
 * A field: `size` bytes at `at` of an object of `length` bytes at `position`, with its checksum at
 * `crc`.
 */
export interface Place {
  readonly what: string
  readonly position: number
  readonly length: number
  readonly crc: number
  readonly at: number
  readonly size: number
  /** The bits of these bytes, from the most significant one. */
  readonly bits?: { readonly first: number; readonly width: number }
  /** The inode that contains these bytes. */
  readonly ino?: number
}

export const verbs = {
  zero: () => 0n,
  ones: (_: bigint, all: bigint) => all,
  'plus 1': (value: bigint, all: bigint) => (value + 1n) & all,
  'minus 1': (value: bigint, all: bigint) => (value - 1n) & all,
  'flip the last bit': (value: bigint) => value ^ 1n,
  'flip the middle bit': (value: bigint, _: bigint, width: number) => value ^ (1n << BigInt(width >> 1)),
  'flip the first bit': (value: bigint, _: bigint, width: number) => value ^ (1n << BigInt(width - 1)),
} as const
export type Verb = keyof typeof verbs

/** Change a structure of `length` bytes at `position`, and write its checksum at `crc`. */
export function edit(
  device: Device,
  { position, length, crc }: Pick<Place, 'position' | 'length' | 'crc'>,
  change: (view: DataView) => void,
): void {
  const bytes = new Uint8Array(length)
  device.read(bytes, position)
  const view = new DataView(bytes.buffer)
  change(view)
  view.setUint32(crc, crc32cExcept(bytes, crc), true)
  device.write(bytes, position)
}

/** The place of an inode. */
export const inodePlace = (geometry: Geometry, ino: number): Pick<Place, 'position' | 'length' | 'crc'> => {
  const agino = geometry.inoAgino(ino)
  const block = geometry.daddr(geometry.inoAgno(ino), geometry.aginoAgbno(agino)) * BASIC_BLOCK
  return { position: block + geometry.aginoIndex(agino) * geometry.inodesize, length: geometry.inodesize, crc: 100 }
}

/** The new value of a field of `width` bits; `all` has all bits set. */
export type Change = (value: bigint, all: bigint, width: number) => bigint

/** Damage a field. @returns whether anything has changed */
export function damage(device: Device, place: Place, verb: Verb | Change, withCrc: boolean): boolean {
  const { position, length, at, size, crc } = place
  const bytes = new Uint8Array(length)
  device.read(bytes, position)
  let word = 0n
  for (let i = 0; i < size; i++) word = (word << 8n) | BigInt(bytes[at + i] as number)
  const { first, width } = place.bits ?? { first: 0, width: size * 8 }
  const shift = BigInt(size * 8 - first - width)
  const all = (1n << BigInt(width)) - 1n
  const old = (word >> shift) & all
  const value = (typeof verb === 'string' ? verbs[verb] : verb)(old, all, width)
  if (value === old) return false
  word = (word & ~(all << shift)) | (value << shift)
  for (let i = size - 1; i >= 0; i--, word >>= 8n) bytes[at + i] = Number(word & 0xffn)
  if (withCrc) new DataView(bytes.buffer).setUint32(crc, crc32cExcept(bytes, crc), true)
  device.write(bytes, position)
  return true
}

interface Part {
  readonly name: string
  readonly at: number
  readonly size: number
  readonly bits?: { readonly first: number; readonly width: number }
}
type Whole = Pick<Place, 'position' | 'length' | 'crc' | 'ino'> & { readonly what: string }

const placesOf = (whole: Whole, parts: readonly Part[]): Place[] =>
  parts.map(({ name: part, ...rest }) => ({ ...whole, ...rest, what: `${whole.what}.${part}` }))

/** Fields of a structure; the first three elements of arrays. */
function partsOf(
  struct: typeof Superblock | typeof Agf | typeof Agi | typeof Agfl | typeof Dinode,
  upTo = 1000,
): Part[] {
  return struct.list
    .filter(({ kind, offset }) => kind !== 'crc32c' && offset < upTo)
    .flatMap(({ name: part, offset, size, bits, count }) =>
      count === undefined
        ? [{ name: part, at: offset, size, ...(bits ? { bits } : {}) }]
        : [0, 1, 2].map((i) => ({ name: `${part}[${i}]`, at: offset + (i * size) / count, size: size / count })),
    )
}

const RECORDS: Readonly<Record<AgTreeName | 'bmbt', readonly (readonly [name: string, size: number])[]>> = {
  bnobt: [['startblock', 4], ['blockcount', 4]],
  cntbt: [['startblock', 4], ['blockcount', 4]],
  inobt: [['startino', 4], ['holemask', 2], ['count', 1], ['freecount', 1], ['free', 8]],
  finobt: [['startino', 4], ['holemask', 2], ['count', 1], ['freecount', 1], ['free', 8]],
  rmapbt: [['startblock', 4], ['blockcount', 4], ['owner', 8], ['offset', 8]],
  refcountbt: [['startblock', 4], ['blockcount', 4], ['refcount', 4]],
  bmbt: [],
} // biome-ignore format: a table
const KEYS: Readonly<Record<AgTreeName | 'bmbt', number>> = {
  bnobt: 8, cntbt: 8, inobt: 4, finobt: 4, rmapbt: 40, refcountbt: 4, bmbt: 8,
} // biome-ignore format: a table

const extentParts = (at: number, label: string): Part[] => [
  { name: `${label}.unwritten`, at, size: 16, bits: { first: 0, width: 1 } },
  { name: `${label}.startoff`, at, size: 16, bits: { first: 1, width: 54 } },
  { name: `${label}.startblock`, at, size: 16, bits: { first: 55, width: 52 } },
  { name: `${label}.blockcount`, at, size: 16, bits: { first: 107, width: 21 } },
]

/** First, middle and last of `count` elements. */
const some = (count: number): number[] => [...new Set([0, count >> 1, count - 1])].filter((i) => i >= 0)

function treeBlock(device: Device, geometry: Geometry, tree: AgTreeName | 'bmbt', daddr: number, ino?: number): Place[] {
  const { blocksize } = geometry
  const long = tree === 'bmbt'
  const position = daddr * BASIC_BLOCK
  const view = new DataView(new ArrayBuffer(blocksize))
  device.read(new Uint8Array(view.buffer), position)
  const level = view.getUint16(4)
  const count = view.getUint16(6)
  const header = long ? geometry.longHeader : geometry.shortHeader
  const whole: Whole = { what: `${tree} block`, position, length: blocksize, crc: long ? 64 : 52, ...(ino === undefined ? {} : { ino }) }
  const heads: [string, number, number][] = long
    ? [['magic', 0, 4], ['level', 4, 2], ['numrecs', 6, 2], ['leftsib', 8, 8], ['rightsib', 16, 8], ['bno', 24, 8], ['lsn', 32, 8], ['uuid', 40, 16], ['owner', 56, 8]]
    : [['magic', 0, 4], ['level', 4, 2], ['numrecs', 6, 2], ['leftsib', 8, 4], ['rightsib', 12, 4], ['bno', 16, 8], ['lsn', 24, 8], ['uuid', 32, 16], ['owner', 48, 4]]
  const parts: Part[] = heads.map(([part, at, size]) => ({ name: part, at, size }))
  const stride = long ? 16 : RECORDS[tree].reduce((sum, [, size]) => sum + size, 0)
  for (const i of some(count)) {
    if (level > 0) {
      const ptr = long ? 8 : 4
      const most = maxRecords(geometry, tree, level)
      for (let k = 0; k < KEYS[tree]; k += 4) parts.push({ name: `keys[${i}]+${k}`, at: header + i * KEYS[tree] + k, size: 4 })
      parts.push({ name: `ptrs[${i}]`, at: header + most * KEYS[tree] + i * ptr, size: ptr })
    } else if (long) parts.push(...extentParts(header + i * stride, `recs[${i}]`))
    else {
      let at = header + i * stride
      for (const [part, size] of RECORDS[tree]) {
        parts.push({ name: `recs[${i}].${part}`, at, size })
        at += size
      }
    }
  }
  return placesOf(whole, parts)
} // biome-ignore format: tables

function inodePlaces(volume: Volume, ino: number, path: string): Place[] {
  const { geometry, device } = volume
  const agino = geometry.inoAgino(ino)
  const position =
    geometry.daddr(geometry.inoAgno(ino), geometry.aginoAgbno(agino)) * BASIC_BLOCK +
    geometry.aginoIndex(agino) * geometry.inodesize
  const view = new DataView(new ArrayBuffer(geometry.inodesize))
  device.read(new Uint8Array(view.buffer), position)
  const whole: Whole = { what: `inode of ${path}`, position, length: geometry.inodesize, crc: 100, ino }
  const parts = partsOf(Dinode, geometry.coresize)
  const forkoff = view.getUint8(82) * 8
  const end = geometry.inodesize - geometry.coresize
  const forks: [string, number, number, number, number][] = [
    ['u3', view.getUint8(5), 0, forkoff || end, view.getUint32(76) || view.getUint32(28)],
  ]
  if (forkoff > 0)
    forks.push(['a', view.getUint8(83), forkoff, end - forkoff, view.getUint16(80) || view.getUint32(76)])
  for (const [fork, format, from, size, extents] of forks) {
    const at = geometry.coresize + from
    if (format === 2)
      for (const i of some(Math.min(extents, Math.floor(size / 16))))
        parts.push(...extentParts(at + 16 * i, `${fork}.bmx[${i}]`))
    else if (format === 3) {
      const most = Math.floor((size - 4) / 16)
      parts.push({ name: `${fork}.level`, at, size: 2 }, { name: `${fork}.numrecs`, at: at + 2, size: 2 })
      for (const i of some(view.getUint16(at + 2))) {
        parts.push(
          { name: `${fork}.keys[${i}]`, at: at + 4 + 8 * i, size: 8 },
          { name: `${fork}.ptrs[${i}]`, at: at + 4 + 8 * most + 8 * i, size: 8 },
        )
      }
    } else if (format === 1) for (let k = 0; k < 24; k += 4) parts.push({ name: `${fork}+${k}`, at: at + k, size: 4 })
  }
  return placesOf(whole, parts)
}

/**
 * Directory and attribute blocks and the targets of symbolic links: words of the header, of the
 * end, and some between.
 */
function contentBlocks({ device, geometry }: Volume, agno: number, ag: ObservedAg, inodes: Inodes): Place[] {
  const places: Place[] = []
  const { mappings } = ag
  for (let row = 0; row < mappings.length; row++) {
    const ino = mappings.owner.get(row)
    const kind = inodes.mode.get(inodes.slot(ino)) & S_IFMT
    const attribute = (mappings.flags.get(row) & ATTR_FORK) !== 0
    if (!attribute && kind !== S_IFDIR && kind !== S_IFLNK) continue
    const length = !attribute && kind === S_IFDIR ? geometry.dirblocksize : geometry.blocksize
    const blocks = length / geometry.blocksize
    for (let at = 0; at + blocks <= mappings.count.get(row); at += blocks) {
      const position = geometry.daddr(agno, mappings.start.get(row) + at) * BASIC_BLOCK
      const magic = new Uint8Array(3)
      device.read(magic, position)
      const crc = /^XD[BDF]/.test(Buffer.from(magic).toString('latin1')) ? 4 : 12
      const what = `${attribute ? 'attribute' : kind === S_IFDIR ? 'directory' : 'symlink'} block of inode ${ino}`
      const offsets = Array.from({ length: 16 }, (_, i) => 4 * i).filter((offset) => offset !== crc)
      for (let offset = 64; offset < length; offset += length / 32) offsets.push(offset)
      offsets.push(length - 8, length - 4)
      const parts = offsets.map((offset) => ({ name: `+${offset}`, at: offset, size: 4 }))
      places.push(...placesOf({ what, position, length, crc, ino }, parts))
    }
  }
  return places
}

/** Inodes of each kind, and unlinked ones. */
const PATHS = [
  '/plain',
  '/many',
  '/dir0',
  '/dir0/file 3',
  '/dir1/file 5',
  '/leaf',
  '/empty',
  '/short',
  '/long',
  '/fifo',
  '/twin',
  '/part',
]

/** All places to damage. */
export function placesIn({ device, geometry, files, unlinked }: Victim): Place[] {
  const volume = Volume.open(device)
  const places: Place[] = []
  const { ags, observation } = check(device, geometry)
  for (const { ag } of ags) {
    const { agno } = ag
    places.push(...contentBlocks(volume, agno, ag, observation.inodes))
    const sector = (what: keyof typeof AG_SECTORS, crc: number): Whole => ({
      what: `${what} ${agno}`,
      position: geometry.agHeaderDaddr(agno, AG_SECTORS[what]) * BASIC_BLOCK,
      length: geometry.sectsize,
      crc,
    })
    places.push(...placesOf(sector('sb', 224), partsOf(Superblock)))
    places.push(...placesOf(sector('agf', 216), partsOf(Agf)))
    places.push(...placesOf(sector('agi', 312), partsOf(Agi)))
    const slots = some(agflSlots(geometry)).concat(some(ag.headers.agfl.length))
    const slotParts = slots.map((i) => ({ name: `bno[${i}]`, at: Agfl.size + 4 * i, size: 4 }))
    places.push(...placesOf(sector('agfl', 32), [...partsOf(Agfl), ...slotParts]))
    for (const tree of Object.values(ag.trees)) {
      for (const agbno of new Set(some(tree?.blocks.length ?? 0).map((i) => tree?.blocks[i] as number)))
        places.push(...treeBlock(device, geometry, tree?.name as AgTreeName, geometry.daddr(agno, agbno)))
    }
    const { metadata } = ag
    for (let row = 0; row < metadata.length; row++) {
      const owner = metadata.owner.get(row)
      if (owner >= 0)
        places.push(...treeBlock(device, geometry, 'bmbt', geometry.daddr(agno, metadata.start.get(row)), owner))
    }
  }
  const { rootino, rbmino, rsumino } = geometry.sb
  const named = PATHS.flatMap((path): [number, string][] =>
    files.has(path) ? [[files.get(path)?.ino as number, path]] : [],
  )
  const nameless = [...unlinked].map((ino): [number, string] => [ino, `(unlinked inode ${ino})`])
  for (const [ino, path] of [[rootino, '/'], [rbmino, 'rbm'], [rsumino, 'rsum'], ...named, ...nameless] as const) {
    places.push(...inodePlaces(volume, openInode(volume, ino).ino, path))
  }
  return places
}
