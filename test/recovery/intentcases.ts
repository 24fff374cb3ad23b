import { removeAttr, setAttr } from '../../src/attr/attr.ts'
import { addParent, removeParent } from '../../src/attr/parent.ts'
import { fpunch } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { AttrFlags, buildParentRec } from '../../src/format/attr.ts'
import type { BmbtRec } from '../../src/format/btrecs.ts'
import { OWNERS } from '../../src/format/btrecs.ts'
import { DIFLAGS2 } from '../../src/format/dinode.ts'
import { featureBits } from '../../src/format/features.ts'
import type { ByteOrder } from '../../src/format/hostorder.ts'
import {
  AttriLogFormat,
  AttriLogFormatReplace,
  AttriOps,
  BmapFlags,
  EfiLogFormat,
  Extent32,
  Extent64,
  type LogItemType,
  LogItemTypes,
  MapExtent,
  PhysExtent,
  RefcountOps,
  RmapFlags,
  RmapOps,
  XmiFlags,
  XmiLogFormat,
} from '../../src/format/logitems.ts'
import { Superblock } from '../../src/format/sb.ts'
import { addBlocks, type Inode, openInode, updateInode } from '../../src/inode/inode.ts'
import { continueLog, loggedCommits } from '../../src/log/checkpoint.ts'
import type { LoggedIntent } from '../../src/log/intentitems.ts'
import { logState } from '../../src/log/ring.ts'
import { unmapRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { addMapping, removeMapping } from '../../src/mapping/maprecords.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile, mkdir } from '../../src/namespace/namespace.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { allocExtent } from '../../src/space/alloc.ts'
import { allocCowExtent, refcountUpdate } from '../../src/space/refcount.ts'
import { rmapUpdate } from '../../src/space/rmap.ts'
import { type Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { finish } from '../../src/util/progress.ts'
import { viewOf } from '../../src/util/view.ts'
import { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'

/**
 * Images with a dirty log that ends with intents without done items. A case does the first part of
 * a change, and logs the intents for the rest in the same transaction, as the kernel does.
 */
export interface IntentImage {
  readonly device: Device
  readonly intents: readonly LoggedIntent[]
}

/** The files of each image. */
interface Files {
  /** 30 extents of one block, with holes between them. */
  readonly holes: Inode
  /** Shares its 16 blocks with `copy`. */
  readonly shared: Inode
  readonly copy: Inode
  /** 20 blocks, then a hole; 100 bytes shorter than `holes`. */
  readonly plain: Inode
  readonly dir: Inode
}

type Case = (tx: Transaction, files: Files) => LoggedIntent[]

const MIB = 2 ** 20
const ORDER: ByteOrder = 'little'
let nextId = 1

function item(kind: LogItemType, regions: readonly Uint8Array[]): LoggedIntent {
  return { kind, order: ORDER, regions }
}

function header(kind: LogItemType, count: number, extentSize: number): Uint8Array {
  const bytes = new Uint8Array(EfiLogFormat.size + count * extentSize)
  EfiLogFormat[ORDER].encode(viewOf(bytes), 0, {
    type: LogItemTypes[kind], size: 1, nextents: count, id: { hi: 0xffff8880, lo: 0x1000 * nextId++ },
  }) // biome-ignore format: short
  return bytes
}

type Values = Readonly<Record<string, unknown>>

function listed(
  kind: LogItemType,
  form: typeof Extent64 | typeof MapExtent | typeof PhysExtent,
  list: readonly Values[],
) {
  const bytes = header(kind, list.length, form.size)
  for (const [i, one] of list.entries()) {
    const { encode } = form[ORDER] as { encode(view: DataView, at: number, record: Values): void }
    encode(viewOf(bytes), EfiLogFormat.size + i * form.size, one)
  }
  return item(kind, [bytes])
}

const efi = (list: readonly BmbtRec[], form: typeof Extent64 = Extent64): LoggedIntent =>
  listed(
    'efi',
    form,
    list.map(({ startblock, blockcount }) => ({ start: startblock, len: blockcount })),
  )

const rui = (op: keyof typeof RmapOps, ino: number, list: readonly BmbtRec[], flags = 0): LoggedIntent =>
  listed(
    'rui',
    MapExtent,
    list.map(({ startblock, startoff, blockcount, extentflag }) => ({
      owner: ino, startblock, startoff, len: blockcount,
      flags: (RmapOps[op] | flags | (extentflag ? RmapFlags.unwritten : 0)) >>> 0,
    })), // biome-ignore format: short
  )

const cui = (op: keyof typeof RefcountOps, list: readonly BmbtRec[]): LoggedIntent =>
  listed(
    'cui',
    PhysExtent,
    list.map(({ startblock, blockcount }) => ({ startblock, len: blockcount, flags: RefcountOps[op] })),
  )

const bui = (op: 'map' | 'unmap', ino: number, rec: BmbtRec, flags = 0): LoggedIntent =>
  listed('bui', MapExtent, [
    {
      owner: ino, startblock: rec.startblock, startoff: rec.startoff, len: rec.blockcount,
      flags: (BmapFlags[op] | flags | (rec.extentflag ? BmapFlags.unwritten : 0)) >>> 0,
    },
  ]) // biome-ignore format: short

const padded = (bytes: Uint8Array): Uint8Array => {
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
  whole.set(bytes)
  return whole
}

interface AttrValues {
  readonly inode: Inode
  readonly op: keyof typeof AttriOps
  readonly name: Uint8Array
  readonly value?: Uint8Array
  readonly space?: number
  readonly newName?: Uint8Array
  readonly newValue?: Uint8Array
}

function attri({ inode, op, name, value = new Uint8Array(0), space = 0, newName, newValue }: AttrValues): LoggedIntent {
  const parts = [
    name,
    ...(newName ? [newName] : []),
    ...(value.length > 0 ? [value] : []),
    ...(newValue ? [newValue] : []),
  ]
  const bytes = header('attri', 0, 1).slice()
  const format = new Uint8Array(AttriLogFormat.size)
  format.set(bytes)
  const common = {
    size: 1 + parts.length, ino: inode.ino, igen: inode.generation, op_flags: AttriOps[op], value_len: value.length, attr_filter: space,
  } // biome-ignore format: short
  if (newName)
    AttriLogFormatReplace[ORDER].encode(viewOf(format), 0, {
      ...common, old_name_len: name.length, new_name_len: newName.length,
    }) // biome-ignore format: short
  else AttriLogFormat[ORDER].encode(viewOf(format), 0, { ...common, name_len: name.length })
  return item('attri', [format, ...parts.map(padded)])
}

interface ExchangeValues {
  readonly startoff1?: number
  readonly startoff2?: number
  readonly blockcount: number
  readonly flags?: number
  readonly sizes?: readonly [number, number]
}

function xmi(one: Inode, two: Inode, values: ExchangeValues): LoggedIntent {
  const { startoff1 = 0, startoff2 = 0, blockcount, flags = 0, sizes = [-1, -1] } = values
  const format = new Uint8Array(XmiLogFormat.size)
  format.set(header('xmi', 0, 1))
  XmiLogFormat[ORDER].encode(viewOf(format), 0, {
    inode1: one.ino, inode2: two.ino, igen1: one.generation, igen2: two.generation, startoff1, startoff2, blockcount,
    flags: { hi: 0, lo: flags }, isize1: sizes[0], isize2: sizes[1],
  }) // biome-ignore format: short
  return item('xmi', [format])
}

const recs = (inode: Inode, tx: Transaction, count?: number): BmbtRec[] =>
  [...extents(inode, 'data', 0, tx)].slice(0, count)
const text = (value: string): Uint8Array => new TextEncoder().encode(value)

function allocated(tx: Transaction, length: number): number {
  return allocExtent(tx, { minLength: length, maxLength: length }).fsbno
}

function setLogAttrs(tx: Transaction): void {
  const superblock = tx.volume.superblock(tx)
  const field = Superblock.fields.features_log_incompat
  const view = tx.edit(superblock)
  field.set(view, 0, (field.get(view, 0) | featureBits.logxattrs.bit) >>> 0)
}

/** The parent pointer of `child` in `dir`. */
const pointer = (dir: Inode): Uint8Array => buildParentRec({ inumber: dir.ino, gen: dir.generation })

export const cases: Readonly<Record<string, Case>> = {
  'EFI: blocks of a file': (tx, { holes }) => {
    const gone = recs(holes, tx, 5)
    for (const { startoff } of gone) unmapRange(tx, holes, 'data', startoff, 1, { keepBlocks: true })
    return [efi(gone.slice(0, 2)), efi(gone.slice(2))]
  },
  'EFI in the form of a 32-bit kernel': (tx, { holes }) => {
    const gone = recs(holes, tx, 5)
    for (const { startoff } of gone) unmapRange(tx, holes, 'data', startoff, 1, { keepBlocks: true })
    return [efi(gone, Extent32 as unknown as typeof Extent64)]
  },
  'EFI: blocks of an AG with their reverse mapping': (tx) => {
    const { fsbno } = allocExtent(tx, { minLength: 3, maxLength: 3, owner: OWNERS.ag })
    return [
      efi([{ extentflag: 0, startoff: 0, startblock: fsbno + 1, blockcount: 1 }]),
      efi([
        { extentflag: 0, startoff: 0, startblock: fsbno, blockcount: 1 },
        { extentflag: 0, startoff: 0, startblock: fsbno + 2, blockcount: 1 },
      ]),
    ]
  },
  'RUI map': (tx, { plain }) => {
    const rec = { extentflag: 1, startoff: 40, startblock: allocated(tx, 6), blockcount: 6 } as const
    addMapping(tx, plain, 'data', rec)
    addBlocks(tx, plain, 6)
    return [rui('map', plain.ino, [rec])]
  },
  'RUI unmap, and EFI': (tx, { holes }) => {
    const gone = recs(holes, tx, 16)
    for (const rec of gone) removeMapping(tx, holes, 'data', rec, rec)
    addBlocks(tx, holes, -16)
    return [rui('unmap', holes.ino, gone), efi(gone)]
  },
  'RUI convert': (tx, { holes }) => {
    const [rec] = recs(holes, tx, 1) as [BmbtRec]
    removeMapping(tx, holes, 'data', rec, rec)
    const changed = { ...rec, extentflag: 1 as const }
    addMapping(tx, holes, 'data', changed)
    return [rui('convert', holes.ino, [changed])]
  },
  'RUI alloc and free of CoW staging': (tx) => {
    const staging = { extentflag: 0, startoff: 0, startblock: allocated(tx, 4), blockcount: 4 } as const
    tx.defer(refcountUpdate, { op: 'allocCow', fsbno: staging.startblock, blockcount: 4 })
    return [rui('alloc', OWNERS.cow, [staging])]
  },
  'CUI increase, RUI and BUI: a file gets shared blocks': (tx, { plain, shared }) => {
    const [rec] = recs(shared, tx, 1) as [BmbtRec]
    updateInode(tx, plain, { flags2: plain.flags2 | DIFLAGS2.reflink })
    return [cui('increase', [rec]), bui('map', plain.ino, { ...rec, startoff: 30 })]
  },
  'CUI decrease: blocks are freed': (tx, { shared, copy }) => {
    for (const inode of [shared, copy]) unmapRange(tx, inode, 'data', 4, 4, { keepBlocks: true })
    const [rec] = recs(shared, tx, 1) as [BmbtRec]
    const gone = { ...rec, startblock: rec.startblock + 4, blockcount: 4 }
    return [cui('decrease', [gone]), cui('decrease', [gone])]
  },
  'CUI of CoW staging': (tx) => {
    const first = allocated(tx, 4)
    const staging = { extentflag: 0, startoff: 0, startblock: first, blockcount: 4 } as const
    tx.defer(rmapUpdate, { op: 'map', owner: OWNERS.cow, fork: 'data', startoff: 0, fsbno: first, blockcount: 4 })
    const second = { ...staging, startblock: allocated(tx, 3), blockcount: 3 }
    allocCowExtent(tx, second.startblock, 3)
    return [cui('allocCow', [staging]), rui('free', OWNERS.cow, [second]), cui('freeCow', [second]), efi([second])]
  },
  'BUI map': (tx, { plain }) => [
    bui('map', plain.ino, { extentflag: 1, startoff: 25, startblock: allocated(tx, 5), blockcount: 5 }),
  ],
  'BUI unmap, and CUI': (tx, { copy }) => {
    const [rec] = recs(copy, tx, 1) as [BmbtRec]
    return [bui('unmap', copy.ino, rec), cui('decrease', [rec])]
  },
  'ATTRI set': (tx, { plain, holes }) => {
    setLogAttrs(tx)
    return [
      attri({ inode: plain, op: 'set', name: text('new'), value: text('value') }),
      attri({ inode: holes, op: 'set', name: text('large'), value: random(1).bytes(9001), space: AttrFlags.root }),
    ]
  },
  'ATTRI replace': (tx, { plain }) => {
    setLogAttrs(tx)
    setAttr(tx, plain, { space: 0, name: text('old') }, text('before'))
    return [attri({ inode: plain, op: 'replace', name: text('old'), value: random(2).bytes(300) })]
  },
  'ATTRI remove': (tx, { plain }) => {
    setLogAttrs(tx)
    setAttr(tx, plain, { space: AttrFlags.secure, name: text('gone') }, random(2).bytes(5000))
    return [
      attri({ inode: plain, op: 'remove', name: text('gone'), space: AttrFlags.secure }),
      attri({ inode: plain, op: 'remove', name: text('never there') }),
    ]
  },
  'ATTRI of parent pointers: set': (tx, { plain, dir }) => {
    const root = openInode(tx.volume, tx.volume.geometry.sb.rootino, tx)
    removeParent(tx, plain, root, text('plain'))
    void dir
    return [
      attri({ inode: plain, op: 'parentSet', name: text('plain'), value: pointer(root), space: AttrFlags.parent }),
    ]
  },
  'ATTRI of parent pointers: remove': (tx, { plain, dir }) => {
    addParent(tx, plain, dir, text('no entry'))
    return [
      attri({ inode: plain, op: 'parentRemove', name: text('no entry'), value: pointer(dir), space: AttrFlags.parent }),
    ]
  },
  'ATTRI of parent pointers: replace': (tx, { plain, dir }) => {
    const root = openInode(tx.volume, tx.volume.geometry.sb.rootino, tx)
    const key = { space: AttrFlags.parent, name: text('plain'), value: pointer(root) }
    removeAttr(tx, plain, key)
    addParent(tx, plain, dir, text('before'))
    return [
      attri({
        inode: plain, op: 'parentReplace', name: text('before'), value: pointer(dir), newName: text('plain'),
        newValue: pointer(root), space: AttrFlags.parent,
      }), // biome-ignore format: short
    ]
  },
  'XMI: whole files, and their sizes': (_, { plain, holes }) => [
    xmi(plain, holes, {
      blockcount: 60, flags: XmiFlags.setSizes, sizes: [Number(holes.size), Number(plain.size)],
    }), // biome-ignore format: short
  ],
  'XMI: ranges, one with shared blocks': (_, { plain, copy }) => [
    xmi(plain, copy, { startoff1: 3, startoff2: 5, blockcount: 7 }),
  ],
  'XMI: only written blocks': (_, { plain, holes }) => [
    xmi(holes, plain, { blockcount: 19, flags: XmiFlags.onlyWritten }),
  ],
  'XMI: within a file': (_, { plain }) => [xmi(plain, plain, { startoff2: 10, blockcount: 8 })],
}

/**
 * An image with the intents of a case in its log.
 * @param spoil  changes the intents before they are logged
 */
export function intentImage(
  name: string,
  options: MkfsOptions = {},
  spoil?: (intents: readonly LoggedIntent[]) => void,
): IntentImage {
  const base = baseOf(options)
  const device = overlay(base.device)
  const { commits } = continueLog(logState(Volume.open(device)))
  const volume = Volume.open(device, { write: true, committer: commits })
  const change = cases[name] as Case
  const intents = withTransaction(volume, (tx) => {
    const open = (ino: number): Inode => openInode(volume, ino, tx)
    const { holes, shared, copy, plain, dir } = base.inos
    const files = { holes: open(holes), shared: open(shared), copy: open(copy), plain: open(plain), dir: open(dir) }
    const list = change(tx, files)
    spoil?.(list)
    for (const { regions } of list) tx.log(regions)
    return list
  })
  volume.committer.sync()
  return { device, intents }
}

interface Base {
  readonly device: Device
  readonly inos: Readonly<Record<keyof Files, number>>
}

const bases = new Map<string, Base>()

/** An image with the files. */
function baseOf(options: MkfsOptions): Base {
  const known = bases.get(JSON.stringify(options))
  if (known) return known
  const device = memoryDevice(64 * MIB)
  mkfs(device, { agcount: 2, blocksize: 4096, ...options })
  const volume = Volume.open(device, { write: true, committer: loggedCommits })
  const base = { device, inos: addFiles(volume) }
  volume.sync()
  bases.set(JSON.stringify(options), base)
  return base
}

function addFiles(volume: Volume): Record<keyof Files, number> {
  const { blocksize } = volume.geometry
  const write = (path: string, blocks: number, seed: number): number => {
    const { ino } = createFile(volume, path, 0o644)
    writeFile(volume, ino, 0, random(seed).bytes(blocks * blocksize))
    return ino
  }
  const plain = write('/plain', 20, 1)
  withTransaction(volume, (tx) => updateInode(tx, openInode(volume, plain, tx), { size: 60 * blocksize - 100 }))
  const holes = write('/holes', 60, 2)
  for (let i = 0; i < 30; i++) fpunch(volume, holes, (2 * i + 1) * blocksize, blocksize)
  const shared = write('/shared', 16, 3)
  const { ino: copy } = createFile(volume, '/copy', 0o644)
  if (volume.features.has('reflink')) finish(reflink(volume, shared, copy, { srcOffset: 0, dstOffset: 0, length: 0 }))
  else writeFile(volume, copy, 0, random(3).bytes(16 * blocksize))
  const { ino: dir } = mkdir(volume, '/dir', 0o755)
  return { holes, shared, copy, plain, dir }
}
