import { XfsError } from '../errors.ts'
import { ATTR_MAX_VALUE, ATTR_NAMESPACES, AttrFlags, ParentRec } from '../format/attr.ts'
import { MAX_FILE_BLOCKS, OWNERS } from '../format/btrecs.ts'
import { MAX_NAME_LENGTH } from '../format/dir.ts'
import type { Geometry } from '../format/geometry.ts'
import type { ByteOrder, HostStruct } from '../format/hostorder.ts'
import {
  AttriLogFormat,
  AttriLogFormatReplace,
  AttriOps,
  BmapFlags,
  BuiLogFormat,
  CuiLogFormat,
  EfiLogFormat,
  Extent32,
  Extent64,
  efiExtentSize,
  type LogItemType,
  MapExtent,
  PhysExtent,
  RefcountOps,
  RmapFlags,
  RmapOps,
  RuiLogFormat,
  XmiFlags,
  XmiLogFormat,
} from '../format/logitems.ts'
import type { FieldTable, Mask64, Struct } from '../format/struct.ts'
import { type Bytes, exact } from '../util/bytes.ts'
import { viewOf } from '../util/view.ts'

/**
 * Intents of the log, decoded, and validated as the kernel does before it finishes them. For the
 * items see format/logitems.ts.
 *
 * Source: fs/xfs/xfs_extfree_item.c, xfs_rmap_item.c, xfs_refcount_item.c, xfs_bmap_item.c,
 * xfs_attr_item.c, xfs_exchmaps_item.c (the functions *_validate and *_commit_pass2).
 */
export interface LoggedIntent {
  readonly kind: LogItemType
  readonly order: ByteOrder
  readonly regions: readonly Uint8Array[]
}

export interface FreeWork {
  readonly kind: 'efi'
  readonly extents: readonly { readonly fsbno: number; readonly blockcount: number }[]
}

export interface RmapWork {
  readonly kind: 'rui'
  readonly updates: readonly {
    readonly op: 'map' | 'unmap' | 'convert'
    readonly owner: number
    readonly fork: 'data' | 'attr'
    readonly bmbtblock: boolean
    readonly startoff: number
    readonly fsbno: number
    readonly blockcount: number
    readonly unwritten: boolean
    /** As in the log. */
    readonly flags: number
  }[]
}

export interface RefcountWork {
  readonly kind: 'cui'
  readonly updates: readonly {
    readonly op: 'increase' | 'decrease' | 'allocCow' | 'freeCow'
    readonly fsbno: number
    readonly blockcount: number
  }[]
}

export interface BmapWork {
  readonly kind: 'bui'
  readonly op: 'map' | 'unmap'
  readonly ino: number
  readonly fork: 'data' | 'attr'
  readonly startoff: number
  readonly fsbno: number
  readonly blockcount: number
  readonly unwritten: boolean
  /** As in the log. */
  readonly flags: number
}

export interface AttrWork {
  readonly kind: 'attri'
  readonly ino: number
  /** The generation of the inode, if it is known. */
  readonly generation?: number
  readonly space: number
  readonly remove?: Uint8Array
  readonly set?: { readonly name: Uint8Array; readonly value: Uint8Array }
  /** For a parent pointer that is removed. */
  readonly removedValue?: Uint8Array
}

export interface ExchangeWork {
  readonly kind: 'xmi'
  readonly inodes: readonly [number, number]
  readonly generations: readonly [number, number]
  readonly startoff1: number
  readonly startoff2: number
  readonly blockcount: number
  /** Low word. */
  readonly flags: number
  readonly sizes: readonly [Bytes, Bytes]
}

export type IntentWork = FreeWork | RmapWork | RefcountWork | BmapWork | AttrWork | ExchangeWork

/** `EFI 0xffff888012345678` */
export const intentName = (kind: LogItemType, { hi, lo }: Mask64): string =>
  `${kind.toUpperCase()} 0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}`

/** The id of an intent, the same in its done item. */
export const intentId = ({ order, regions }: LoggedIntent): Mask64 =>
  EfiLogFormat[order].fields.id.get(viewOf(regions[0] as Uint8Array), 0)

/**
 * Decode an intent.
 * @throws XfsError UNSUPPORTED (of the realtime device), CORRUPT (the kernel rejects it as well)
 */
export function decodeIntent(intent: LoggedIntent, geometry: Geometry): IntentWork {
  const format = regionOf(intent, 0)
  if (format.byteLength < EfiLogFormat.size) throw bad(intent, `it has ${format.byteLength} bytes`)
  const decode = decoders[intent.kind]
  if (!decode) throw new XfsError('UNSUPPORTED', `the log: ${named(intent)} is not supported`, { type: 'log' })
  return decode(intent, geometry)
}

const decoders: Partial<Record<LogItemType, (intent: LoggedIntent, geometry: Geometry) => IntentWork>> = {
  efi: decodeFree,
  rui: decodeRmap,
  cui: decodeRefcount,
  bui: decodeBmap,
  attri: decodeAttr,
  xmi: decodeExchange,
}

const named = (intent: LoggedIntent): string => intentName(intent.kind, intentId(intent))

function bad(intent: LoggedIntent, why: string): XfsError {
  const format = intent.regions[0]
  const name = format && format.length >= EfiLogFormat.size ? named(intent) : intent.kind.toUpperCase()
  return new XfsError('CORRUPT', `the log: ${name}: ${why}`, { type: 'log' })
}

function regionOf(intent: LoggedIntent, index: number): DataView {
  const region = intent.regions[index]
  if (!region) throw bad(intent, `it has ${intent.regions.length} regions`)
  return viewOf(region)
}

/** The extents after the header of an intent. */
function* extentsOf<T extends FieldTable>(
  intent: LoggedIntent,
  header: typeof EfiLogFormat,
  extent: HostStruct<T>,
): Generator<ReturnType<Struct<T>['decode']>> {
  const view = regionOf(intent, 0)
  const count = header[intent.order].fields.nextents.get(view, 0)
  if (view.byteLength !== header.size + count * extent.size)
    throw bad(intent, `${count} extents in ${view.byteLength} bytes`)
  for (let i = 0; i < count; i++) yield extent[intent.order].decode(view, header.size + i * extent.size)
}

// ------------------------------------------------------------------------------------------ extents

function checkBlocks(intent: LoggedIntent, geometry: Geometry, fsbno: number, blockcount: number): void {
  if (!geometry.validFsbnoRange(fsbno, blockcount)) throw bad(intent, `blocks ${fsbno}+${blockcount} are not in one AG`)
}

function checkFileBlocks(intent: LoggedIntent, startoff: number, blockcount: number): void {
  if (blockcount < 1 || startoff < 0 || startoff + blockcount > MAX_FILE_BLOCKS)
    throw bad(intent, `file blocks ${startoff}+${blockcount} are out of range`)
}

function checkIno(intent: LoggedIntent, geometry: Geometry, ino: number): void {
  if (!geometry.validIno(ino)) throw bad(intent, `inode number ${ino} is out of range`)
}

const badFlags = (intent: LoggedIntent, flags: number): XfsError => bad(intent, `flags 0x${(flags >>> 0).toString(16)}`)

function decodeFree(intent: LoggedIntent, geometry: Geometry): FreeWork {
  const view = regionOf(intent, 0)
  const count = EfiLogFormat[intent.order].fields.nextents.get(view, 0)
  const extent = efiExtentSize(view.byteLength, count) === Extent32.size ? Extent32 : Extent64
  const extents = Array.from(extentsOf(intent, EfiLogFormat, extent), ({ start, len }) => {
    checkBlocks(intent, geometry, start, len)
    return { fsbno: start, blockcount: len }
  })
  return { kind: 'efi', extents }
}

const rmapOps: Readonly<Record<number, 'map' | 'unmap' | 'convert'>> = {
  [RmapOps.map]: 'map',
  [RmapOps.mapShared]: 'map',
  [RmapOps.alloc]: 'map',
  [RmapOps.unmap]: 'unmap',
  [RmapOps.unmapShared]: 'unmap',
  [RmapOps.free]: 'unmap',
  [RmapOps.convert]: 'convert',
  [RmapOps.convertShared]: 'convert',
}

const isSpecialOwner = (owner: number): boolean =>
  owner !== OWNERS.null && owner !== OWNERS.unknown && Object.values<number>(OWNERS).includes(owner)

function decodeRmap(intent: LoggedIntent, geometry: Geometry): RmapWork {
  if (!geometry.features.has('rmapbt')) throw bad(intent, 'the filesystem has no reverse mappings')
  const updates = Array.from(
    extentsOf(intent, RuiLogFormat, MapExtent),
    ({ owner, startblock, startoff, len, flags }) => {
      const op = rmapOps[flags & RmapFlags.op]
      const { attrFork, bmbtBlock, unwritten } = RmapFlags
      if (!op || (flags & ~(RmapFlags.op | attrFork | bmbtBlock | unwritten)) !== 0) throw badFlags(intent, flags)
      if (!isSpecialOwner(owner)) checkIno(intent, geometry, owner)
      checkFileBlocks(intent, startoff, len)
      checkBlocks(intent, geometry, startblock, len)
      return {
        op,
        owner,
        fork: (flags & attrFork) !== 0 ? ('attr' as const) : ('data' as const),
        bmbtblock: (flags & bmbtBlock) !== 0,
        startoff,
        fsbno: startblock,
        blockcount: len,
        unwritten: (flags & unwritten) !== 0,
        flags,
      }
    },
  )
  return { kind: 'rui', updates }
}

const refcountOps: Readonly<Record<number, RefcountWork['updates'][number]['op']>> = {
  [RefcountOps.increase]: 'increase',
  [RefcountOps.decrease]: 'decrease',
  [RefcountOps.allocCow]: 'allocCow',
  [RefcountOps.freeCow]: 'freeCow',
}

function decodeRefcount(intent: LoggedIntent, geometry: Geometry): RefcountWork {
  if (!geometry.features.has('reflink')) throw bad(intent, 'the filesystem has no shared blocks')
  const updates = Array.from(extentsOf(intent, CuiLogFormat, PhysExtent), ({ startblock, len, flags }) => {
    const op = refcountOps[flags]
    if (!op) throw badFlags(intent, flags)
    checkBlocks(intent, geometry, startblock, len)
    return { op, fsbno: startblock, blockcount: len }
  })
  return { kind: 'cui', updates }
}

function decodeBmap(intent: LoggedIntent, geometry: Geometry): BmapWork {
  const [extent, ...more] = extentsOf(intent, BuiLogFormat, MapExtent)
  if (!extent || more.length > 0) throw bad(intent, `${extent ? more.length + 1 : 0} extents, expected 1`)
  const { owner, startblock, startoff, len, flags } = extent
  const { attrFork, unwritten, realtime, map, unmap } = BmapFlags
  if ((flags & realtime) !== 0)
    throw new XfsError('UNSUPPORTED', `the log: ${named(intent)} changes a file on the realtime device`, {
      type: 'log',
    })
  const op = flags & BmapFlags.op
  if ((op !== map && op !== unmap) || (flags & ~(BmapFlags.op | attrFork | unwritten)) !== 0)
    throw badFlags(intent, flags)
  checkIno(intent, geometry, owner)
  checkFileBlocks(intent, startoff, len)
  checkBlocks(intent, geometry, startblock, len)
  return {
    kind: 'bui',
    op: op === map ? 'map' : 'unmap',
    ino: owner,
    fork: (flags & attrFork) !== 0 ? 'attr' : 'data',
    startoff,
    fsbno: startblock,
    blockcount: len,
    unwritten: (flags & unwritten) !== 0,
    flags,
  }
}

// --------------------------------------------------------------------------------------- attributes

/** Regions are padded to a multiple of 4 bytes. */
const padded = (length: number): number => Math.ceil(length / 4) * 4

/** Bytes of a name or value. */
function bytesOf(intent: LoggedIntent, index: number, length: number, what: string): Uint8Array {
  const region = intent.regions[index]
  if (region?.length !== padded(length)) throw bad(intent, `the ${what} of ${length} bytes has ${region?.length ?? 0}`)
  return region.slice(0, length)
}

function nameOf(intent: LoggedIntent, index: number, length: number, parent: boolean): Uint8Array {
  if (length < 1 || length > MAX_NAME_LENGTH) throw bad(intent, `a name of ${length} bytes`)
  const name = bytesOf(intent, index, length, 'name')
  if (name.includes(0) || (parent && name.includes(SLASH))) throw bad(intent, 'an invalid name')
  return name
}

const SLASH = 0x2f

function parentValue(intent: LoggedIntent, geometry: Geometry, index: number, length: number): Uint8Array {
  if (length !== ParentRec.size) throw bad(intent, `a parent pointer of ${length} bytes`)
  const value = bytesOf(intent, index, length, 'value')
  checkIno(intent, geometry, ParentRec.fields.inumber.get(viewOf(value), 0))
  return value
}

function decodeAttr(intent: LoggedIntent, geometry: Geometry): AttrWork {
  const view = regionOf(intent, 0)
  if (view.byteLength !== AttriLogFormat.size) throw bad(intent, `it has ${view.byteLength} bytes`)
  const format = AttriLogFormat[intent.order].decode(view)
  const { ino, igen, op_flags: op, name_len: nameLength, value_len: valueLength, attr_filter: filter } = format
  const space = filter & ATTR_NAMESPACES
  if ((filter & ~(ATTR_NAMESPACES | AttrFlags.incomplete)) !== 0 || (space & (space - 1)) !== 0)
    throw bad(intent, `namespace 0x${filter.toString(16)}`)
  checkIno(intent, geometry, ino)
  const parent = op === AttriOps.parentSet || op === AttriOps.parentRemove || op === AttriOps.parentReplace
  if (parent !== (space === AttrFlags.parent))
    throw bad(intent, `operation ${op} in namespace 0x${filter.toString(16)}`)
  if (!geometry.features.has(parent ? 'parent' : 'logxattrs'))
    throw bad(intent, `the filesystem has no ${parent ? 'parent pointers' : 'logged attributes'}`)
  const regions = (most: number, least = most): void => {
    if (intent.regions.length < least || intent.regions.length > most)
      throw bad(intent, `it has ${intent.regions.length} regions`)
  }
  const work = { kind: 'attri' as const, ino, space, ...(parent ? { generation: igen } : {}) }
  switch (op) {
    case AttriOps.set:
    case AttriOps.replace: {
      if (valueLength > ATTR_MAX_VALUE) throw bad(intent, `a value of ${valueLength} bytes`)
      regions(valueLength === 0 ? 2 : 3)
      const value = valueLength === 0 ? new Uint8Array(0) : bytesOf(intent, 2, valueLength, 'value')
      return { ...work, set: { name: nameOf(intent, 1, nameLength, false), value } }
    }
    case AttriOps.remove:
      if (valueLength !== 0) throw bad(intent, `a value of ${valueLength} bytes`)
      regions(2)
      return { ...work, remove: nameOf(intent, 1, nameLength, false) }
    case AttriOps.parentSet: {
      regions(3)
      const name = nameOf(intent, 1, nameLength, true)
      return { ...work, set: { name, value: parentValue(intent, geometry, 2, valueLength) } }
    }
    case AttriOps.parentRemove: {
      regions(3)
      const name = nameOf(intent, 1, nameLength, true)
      return { ...work, remove: name, removedValue: parentValue(intent, geometry, 2, valueLength) }
    }
    case AttriOps.parentReplace: {
      regions(5)
      const { old_name_len: oldLength, new_name_len: newLength } = AttriLogFormatReplace[intent.order].decode(view)
      const name = nameOf(intent, 2, newLength, true)
      return {
        ...work,
        remove: nameOf(intent, 1, oldLength, true),
        removedValue: parentValue(intent, geometry, 3, valueLength),
        set: { name, value: parentValue(intent, geometry, 4, valueLength) },
      }
    }
    default:
      throw bad(intent, `operation ${op}`)
  }
}

// ----------------------------------------------------------------------------------------- exchange

function decodeExchange(intent: LoggedIntent, geometry: Geometry): ExchangeWork {
  if (!geometry.features.has('exchange')) throw bad(intent, 'the filesystem does not exchange ranges')
  const view = regionOf(intent, 0)
  if (view.byteLength !== XmiLogFormat.size) throw bad(intent, `it has ${view.byteLength} bytes`)
  if (XmiLogFormat.big.nonzero(view, 0)) throw bad(intent, 'its padding is not zero')
  const format = XmiLogFormat[intent.order].decode(view)
  const { inode1, inode2, igen1, igen2, startoff1, startoff2, blockcount, flags } = format
  if (flags.hi !== 0 || (flags.lo & ~XmiFlags.all) !== 0) throw badFlags(intent, flags.hi || flags.lo)
  for (const ino of [inode1, inode2]) checkIno(intent, geometry, ino)
  for (const startoff of [startoff1, startoff2]) checkFileBlocks(intent, startoff, blockcount)
  const little = intent.order === 'little'
  const { isize1, isize2 } = XmiLogFormat.big.fields
  const size = ({ offset }: { readonly offset: number }): Bytes => exact(view.getBigInt64(offset, little))
  const sizes = [size(isize1), size(isize2)] as const
  if ((flags.lo & XmiFlags.setSizes) !== 0 && (sizes[0] < 0 || sizes[1] < 0))
    throw bad(intent, `sizes ${sizes[0]} and ${sizes[1]}`)
  return {
    kind: 'xmi',
    inodes: [inode1, inode2],
    generations: [igen1, igen2],
    startoff1,
    startoff2,
    blockcount,
    flags: flags.lo,
    sizes,
  }
}
