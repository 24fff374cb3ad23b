import { XfsError } from '../errors.ts'
import { Agf, Agfl, Agi } from '../format/ag.ts'
import {
  ATTR3_LEAF_MAGIC,
  ATTR3_RMT_MAGIC,
  Attr3LeafHdr,
  Attr3RmtHdr,
  AttrFlags,
  AttrLeafEntry,
  AttrNameLocalHead,
  AttrNameRemoteHead,
  AttrSfEntryHead,
  AttrSfHdr,
  attrLeafItems,
  attrLeafSpan,
  attrRemoteSpace,
  attrSfEntries,
  ParentRec,
} from '../format/attr.ts'
import { BmdrBlock, LongBlock, ShortBlock } from '../format/btblock.ts'
import {
  AllocRec,
  BmbtKey,
  BmbtRec,
  InobtKey,
  InobtRec,
  InobtRecFull,
  RefcountKey,
  RefcountRec,
  RmapKey,
  RmapRec,
  type TreeName,
  treeForms,
} from '../format/btrecs.ts'
import { DIFLAGS2, Dinode, FILE_TYPES, FORK_FORMATS, S_IFMT } from '../format/dinode.ts'
import {
  blockTailAt,
  DA3_NODE_MAGIC,
  Da3NodeHdr,
  DaNodeEntry,
  DIR3_BLOCK_MAGIC,
  DIR3_DATA_MAGIC,
  DIR3_FREE_MAGIC,
  DIR3_LEAF1_MAGIC,
  DIR3_LEAFN_MAGIC,
  Dir3DataHdr,
  Dir3FreeHdr,
  Dir3LeafHdr,
  DirBest,
  DirBlockTail,
  DirDataEntryHead,
  DirDataUnusedHead,
  DirLeafEntry,
  DirLeafTail,
  DirSfEntryHead,
  DirSfHead,
  dataItems,
  freeBestSpan,
  leafBestSpan,
  leafEntriesSpan,
  nodeSpan,
  sfEntries,
} from '../format/dir.ts'
import { Dqblk, DquotTypes } from '../format/dquot.ts'
import type { Feature } from '../format/features.ts'
import type { Geometry } from '../format/geometry.ts'
import { Superblock } from '../format/sb.ts'
import {
  agbno,
  bits,
  bytes,
  type Field,
  type FieldTable,
  fsbno,
  type Mask64,
  mask64,
  type Struct,
  u8,
  u16,
  u32,
  u64,
  uuid,
  x16,
  x32,
} from '../format/struct.ts'
import { SymlinkHdr } from '../format/symlink.ts'
import { decodeTime, encodeTime } from '../format/time.ts'
import { forkShape, maxRecords } from '../format/verify.ts'

/**
 * What a whole block consists of, in the order and under the names in which xfs_db prints it: single fields, rows of scalars, and
 * tables of records. Everything that looks at a block field by field (print, write, fuzz, JSON) walks this one list; the parts of
 * variable length appear as fields that are made for the place. On bytes that contradict the format the list ends with a note.
 */

/** One field at one place. */
export interface FieldItem {
  readonly form: 'field'
  readonly path: string
  readonly field: Field<unknown>
  /** What the field's offset counts from. */
  readonly at: number
}

/** Scalars in a row: `bno[0-118] = 0:null 1:7 …` */
export interface ArrayItem {
  readonly form: 'array'
  readonly path: string
  /** Number of the first element. */
  readonly first: number
  readonly count: number
  readonly field: Field<unknown>
  readonly at: number
  readonly step: number
  /** Elements that are not printed: all ones, or zero. */
  readonly skip?: 'null' | 'zero'
}

/** Records in a row: `recs[1-2] = [startblock,blockcount]` and a line each. */
export interface TableItem {
  readonly form: 'table'
  readonly path: string
  readonly first: number
  readonly count: number
  readonly columns: readonly Column[]
  readonly at: number
  readonly step: number
}

/** A column: a field of the record, `delta` bytes on. */
export interface Column {
  readonly name: string
  readonly field: Field<unknown>
  readonly delta: number
}

/** A part that is empty, or where the bytes make no sense any more. */
export interface NoteItem {
  readonly form: 'note'
  readonly path: string
  readonly text: string
}

export type Item = FieldItem | ArrayItem | TableItem | NoteItem

export type Layout = (view: DataView, geometry: Geometry) => Iterable<Item>

// ------------------------------------------------------------------------------------------------------------ helpers

type Unnamed = Omit<Field<unknown>, 'name'>

const named = (name: string, field: unknown): Field<unknown> => ({ ...(field as Unnamed), name })
const single = (path: string, field: unknown, at: number): FieldItem => {
  const name = path.slice(path.lastIndexOf('.') + 1)
  return { form: 'field', path, field: named(name, field), at }
}
const field = <T extends FieldTable>(struct: Struct<T>, name: keyof T & string): Field<unknown> =>
  struct.fields[name] as Field<unknown>

interface StructOptions {
  /** Print these fields in this order; undefined for all, in disk order. */
  readonly order?: readonly string[]
  /** Names of xfs_db that differ from the declared ones. */
  readonly names?: Readonly<Record<string, string>>
  /** Arrays of structures that are printed as tables. */
  readonly tables?: boolean
  readonly skip?: Readonly<Record<string, 'null' | 'zero'>>
}

/** The items of a declared structure; inner structures and arrays are unfolded, padding and what no feature needs left out. */
function* structItems(
  struct: Struct,
  at: number,
  prefix: string,
  geometry: Geometry,
  options: StructOptions = {},
): Generator<Item> {
  const fields = options.order ? options.order.map((name) => struct.fields[name] as Field<unknown>) : struct.list
  for (const one of fields) {
    if (one.kind === 'pad') continue
    const path = prefix + (options.names?.[one.name] ?? one.name)
    const { inner, element } = one
    if (inner) yield* structItems(inner, at + one.offset, `${path}.`, geometry, options)
    else if (element?.inner && options.tables)
      yield table(path, 0, one.count ?? 0, columnsOf(element.inner), at + one.offset, element.size)
    else if (element?.inner) {
      for (let i = 0; i < (one.count ?? 0); i++) {
        yield* structItems(element.inner, at + one.offset + i * element.size, `${path}[${i}].`, geometry, options)
      }
    } else if (element) {
      const skip = options.skip?.[one.name]
      yield array(path, 0, one.count ?? 0, named(one.name, element), at, element.size, skip)
    } else yield { form: 'field', path, field: one, at }
  }
}

const array = (
  path: string,
  first: number,
  count: number,
  one: Field<unknown>,
  at: number,
  step: number,
  skip?: 'null' | 'zero',
): ArrayItem => ({ form: 'array', path, first, count, field: one, at, step, ...(skip ? { skip } : {}) })

const table = (
  path: string,
  first: number,
  count: number,
  columns: readonly Column[],
  at: number,
  step: number,
): TableItem => ({ form: 'table', path, first, count, columns, at, step })

/** Columns of a structure, in the order given. */
function columnsOf(struct: Struct, order?: readonly string[], delta = 0, suffix = ''): Column[] {
  const fields = order
    ? order.map((name) => struct.fields[name] as Field<unknown>)
    : struct.list.filter((one) => one.kind !== 'pad')
  return fields.map((one) => ({ name: one.name + suffix, field: one, delta }))
}

/** Characters as xfs_db prints them; unprintable ones in octal. */
export function charsText(array: Uint8Array): string {
  let text = '"'
  for (const byte of array) {
    const char = String.fromCharCode(byte)
    if (`\\'"?`.includes(char)) text += `\\${char}`
    else if (byte >= 0x20 && byte < 0x7f) text += char
    else if (byte >= 7 && byte <= 13) text += `\\${String.fromCharCode(byte + 97 - 7)}`
    else text += `\\${byte.toString(8).padStart(3, '0')}`
  }
  return `${text}"`
}

/** The inverse: the text between the quotes, with the escapes that `charsText` makes; `#` and hexadecimal digits for raw bytes. */
export function parseChars(text: string, size: number): Uint8Array {
  const result = new Uint8Array(size)
  let length = 0
  const put = (byte: number): void => {
    if (length >= size) throw new XfsError('INVAL', `longer than ${size} bytes: ${text}`)
    result[length++] = byte
  }
  if (text.startsWith('#')) {
    if (!/^#([0-9a-f]{2})*$/i.test(text)) throw new XfsError('INVAL', `not hexadecimal: ${text}`)
    for (let i = 1; i < text.length; i += 2) put(Number.parseInt(text.slice(i, i + 2), 16))
    return result
  }
  for (const [piece] of text.replace(/^"([\s\S]*)"$/, '$1').matchAll(/\\[0-7]{3}|\\[\s\S]|[^\\]+|\\$/g)) {
    if (/^\\[0-7]{3}$/.test(piece)) put(Number.parseInt(piece.slice(1), 8))
    else if (/^\\[a-g]$/.test(piece)) put(piece.charCodeAt(1) - 97 + 7)
    else for (const byte of new TextEncoder().encode(piece.startsWith('\\') ? piece.slice(1) : piece)) put(byte)
  }
  return result
}

/** A name or a value: `size` characters. */
const chars = (size: number, doc: string): Unnamed => {
  const raw = bytes(0, size, doc)
  return {
    ...(raw as unknown as Unnamed),
    kind: 'text',
    text: (view, at) => charsText(raw.get(view, at)),
    parse: (text) => parseChars(text, size),
  }
}

/** Everything a generator yields; XfsError ends it with a note in place of the rest. */
function* guarded(path: string, items: Generator<Item>): Generator<Item> {
  try {
    yield* items
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    yield { form: 'note', path, text: `(${error.message})` }
  }
}

// -------------------------------------------------------------------------------------------------- superblock, groups

const sbLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Superblock, 0, '', geometry)) {
    if (item.form !== 'field') continue
    const { since } = item.field
    if (since && !geometry.features.has(since as Feature)) continue
    const { kind, size, doc, offset } = item.field
    yield kind === 'text' ? single(item.path, moved(chars(size, doc), offset), 0) : item
    if (item.path === 'rgblklog') yield single('pad', u8(281, 'zero'), 0)
  }
}

/** A field made for place 0, put at `offset`. */
function moved(one: Unnamed, offset: number): Unnamed {
  return {
    ...one,
    offset,
    get: (view, at) => one.get(view, at + offset),
    set: (view, at, value) => one.set(view, at + offset, value),
    text: (view, at) => one.text(view, at + offset),
  }
}

const AGF_ORDER = [
  'magicnum',
  'versionnum',
  'seqno',
  'length',
  'bnoroot',
  'cntroot',
  'rmaproot',
  'refcntroot',
  'bnolevel',
  'cntlevel',
  'rmaplevel',
  'refcntlevel',
  'rmapblocks',
  'refcntblocks',
  'flfirst',
  'fllast',
  'flcount',
  'freeblks',
  'longest',
  'btreeblks',
  'uuid',
  'lsn',
  'crc',
]

const agfLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Agf, 0, '', geometry, { order: AGF_ORDER })) {
    const { path } = item
    yield item.form === 'field' && (path === 'rmaproot' || path === 'refcntroot')
      ? { ...item, field: orNothing(item.field) }
      : item
  }
}

/** Roots of trees that a file system may lack are printed as nothing where they are zero. */
const orNothing = (one: Field<unknown>): Field<unknown> => ({
  ...one,
  text: (view, at) => (one.get(view, at) === 0 ? '' : one.text(view, at)),
})

const agiLayout: Layout = (_view, geometry) =>
  structItems(Agi, 0, '', geometry, {
    names: { iblocks: 'ino_blocks', fblocks: 'fino_blocks' },
    skip: { unlinked: 'null' },
  })

const agflLayout: Layout = function* (view, geometry) {
  const v5 = geometry.features.version === 5
  if (v5) yield* structItems(Agfl, 0, '', geometry)
  const start = v5 ? Agfl.size : 0
  yield array(
    'bno',
    0,
    Math.floor((view.byteLength - start) / 4),
    named('bno', agbno(0, 'a block held in reserve', { to: 'data' })),
    start,
    4,
    'zero',
  )
}

// -------------------------------------------------------------------------------------------------------------- btrees

interface TreeLayout {
  readonly recs: (geometry: Geometry) => readonly Column[]
  readonly keys: readonly Column[]
}

const RMAP_KEY_ORDER = ['startblock', 'owner', 'offset', 'extentflag', 'attrfork', 'bmbtblock']
const alloc = columnsOf(AllocRec)
const inobtRecs = columnsOf(InobtRec)
const inobtRecsFull = columnsOf(InobtRecFull)
const rmapRecs = columnsOf(RmapRec, [
  'startblock',
  'blockcount',
  'owner',
  'offset',
  'extentflag',
  'attrfork',
  'bmbtblock',
])
const refcountRecs = columnsOf(RefcountRec, ['startblock', 'blockcount', 'refcount', 'cowflag'])
const bmbtRecs = columnsOf(BmbtRec, ['startoff', 'startblock', 'blockcount', 'extentflag'])
const bmbtKeys = columnsOf(BmbtKey)
const inobt: TreeLayout = {
  recs: (geometry) => (geometry.features.has('sparse') ? inobtRecs : inobtRecsFull),
  keys: columnsOf(InobtKey),
}
const freespace: TreeLayout = { recs: () => alloc, keys: alloc }

const treeLayouts: Readonly<Record<TreeName, TreeLayout>> = {
  bnobt: freespace,
  cntbt: freespace,
  inobt,
  finobt: inobt,
  rmapbt: {
    recs: () => rmapRecs,
    keys: [...columnsOf(RmapKey, RMAP_KEY_ORDER), ...columnsOf(RmapKey, RMAP_KEY_ORDER, RmapKey.size, '_hi')],
  },
  refcountbt: {
    recs: () => refcountRecs,
    keys: columnsOf(RefcountKey, ['startblock', 'cowflag']),
  },
  bmbt: { recs: () => bmbtRecs, keys: bmbtKeys },
}

const btree = (tree: TreeName): Layout =>
  function* (view, geometry) {
    const { recs, keys } = treeLayouts[tree]
    const { recSize, keyStride, ptrSize } = treeForms[tree]
    const long = tree === 'bmbt'
    const header: Struct = long ? LongBlock : ShortBlock
    const start = long ? geometry.longHeader : geometry.shortHeader
    for (const item of structItems(header, 0, '', geometry)) {
      if (item.form === 'field' && item.field.offset < start) yield item
    }
    const level = view.getUint16(4)
    const count = Math.min(view.getUint16(6), maxRecords(geometry, tree, level))
    if (count === 0) return
    if (level === 0) yield table('recs', 1, count, recs(geometry), start, recSize)
    else {
      yield table('keys', 1, count, keys, start, keyStride)
      const pointer = long ? fsbno(0, 'child', { to: 'btree' }) : agbno(0, 'child', { to: 'btree' })
      const pointers = start + keyStride * maxRecords(geometry, tree, level)
      yield array('ptrs', 1, count, named('ptrs', pointer), pointers, ptrSize)
    }
  }

// --------------------------------------------------------------------------------------------------------- directories

const leafColumns = columnsOf(DirLeafEntry)

function* leafList(path: string, span: { at: number; count: number }): Generator<Item> {
  for (let i = 0; i < span.count; i++) {
    for (const { name, field: one } of leafColumns)
      yield { form: 'field', path: `${path}[${i}].${name}`, field: one, at: span.at + 8 * i }
  }
}

function* dirDataList(view: DataView, path: string): Generator<Item> {
  let i = 0
  for (const item of dataItems(view)) {
    const prefix = `${path}[${i++}].`
    const { at, size } = item
    if (item.free) {
      yield { form: 'field', path: `${prefix}freetag`, field: field(DirDataUnusedHead, 'freetag'), at }
      yield { form: 'field', path: `${prefix}length`, field: field(DirDataUnusedHead, 'length'), at }
    } else {
      yield { form: 'field', path: `${prefix}inumber`, field: field(DirDataEntryHead, 'inumber'), at }
      yield { form: 'field', path: `${prefix}namelen`, field: field(DirDataEntryHead, 'namelen'), at }
      yield single(`${prefix}name`, chars(item.name.length, 'name of the entry'), at + 9)
    }
    // xfs_db prints a file type of free spaces too: the first byte of their tag.
    yield single(`${prefix}filetype`, u8(0, 'type of file'), item.free ? at + size - 2 : at + 9 + item.name.length)
    yield single(`${prefix}tag`, x16(0, 'where this entry begins, in bytes from the start of the block'), at + size - 2)
  }
}

function* dir3Items(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = view.getUint32(0)
  if (magic === DIR3_BLOCK_MAGIC || magic === DIR3_DATA_MAGIC) {
    const block = magic === DIR3_BLOCK_MAGIC
    yield* structItems(Dir3DataHdr, 0, block ? 'bhdr.' : 'dhdr.', geometry)
    yield* guarded(block ? 'bu' : 'du', dirDataList(view, block ? 'bu' : 'du'))
    if (!block) return
    yield* guarded(
      'bleaf',
      lazily(() => leafList('bleaf', leafEntriesSpan(view))),
    )
    yield* structItems(DirBlockTail, blockTailAt(view), 'btail.', geometry)
  } else if (magic === DIR3_FREE_MAGIC) {
    yield* structItems(Dir3FreeHdr, 0, 'fhdr.', geometry)
    const { at, count } = freeBestSpan(view)
    if (count > 0) yield array('fbests', 0, count, field(DirBest, 'best'), at, 2, 'zero')
  } else {
    yield* dir3IndexItems(view, geometry)
  }
}

function* dir3IndexItems(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = view.getUint16(8)
  if (magic === DA3_NODE_MAGIC) yield* nodeItems(view, geometry, 'nhdr.', 'nbtree')
  else if (magic === DIR3_LEAF1_MAGIC || magic === DIR3_LEAFN_MAGIC) {
    yield* structItems(Dir3LeafHdr, 0, 'lhdr.', geometry)
    if (magic === DIR3_LEAF1_MAGIC) {
      const { at, count } = leafBestSpan(view)
      if (count > 0) yield array('lbests', 0, count, field(DirBest, 'best'), at, 2)
    }
    yield* leafList('lents', leafEntriesSpan(view))
    if (magic === DIR3_LEAF1_MAGIC)
      yield* structItems(DirLeafTail, view.byteLength - DirLeafTail.size, 'ltail.', geometry)
  }
}

function* nodeItems(view: DataView, geometry: Geometry, header: string, list: string): Generator<Item> {
  yield* structItems(Da3NodeHdr, 0, header, geometry)
  const { at, count } = nodeSpan(view)
  if (count > 0) yield table(list, 0, count, columnsOf(DaNodeEntry), at, DaNodeEntry.size)
}

/** Start a generator only when it is asked for its first value, so that what it throws is thrown there. */
function* lazily(make: () => Generator<Item>): Generator<Item> {
  yield* make()
}

const dir3Layout: Layout = (view, geometry) => guarded('', dir3Items(view, geometry))

// ---------------------------------------------------------------------------------------------------------- attributes

function* parentItems(prefix: string, at: number): Generator<Item> {
  yield { form: 'field', path: `${prefix}parent_dir.inumber`, field: field(ParentRec, 'inumber'), at }
  yield { form: 'field', path: `${prefix}parent_dir.gen`, field: field(ParentRec, 'gen'), at }
}

function* attr3Items(view: DataView, geometry: Geometry): Generator<Item> {
  const magic = view.getUint16(8)
  if (view.getUint32(0) === ATTR3_RMT_MAGIC) {
    yield* structItems(Attr3RmtHdr, 0, 'hdr.', geometry)
    const length = Math.min(Attr3RmtHdr.fields.bytes.get(view, 0), attrRemoteSpace(view.byteLength))
    if (length > 0) yield single('data', chars(length, 'part of the value'), Attr3RmtHdr.size)
  } else if (magic === DA3_NODE_MAGIC) yield* nodeItems(view, geometry, 'hdr.', 'btree')
  else if (magic === ATTR3_LEAF_MAGIC) yield* attrLeafLayout(view, geometry)
}

function* attrLeafLayout(view: DataView, geometry: Geometry): Generator<Item> {
  yield* structItems(Attr3LeafHdr, 0, 'hdr.', geometry, { tables: true })
  const { at: first, count } = attrLeafSpan(view)
  if (count > 0) yield table('entries', 0, count, columnsOf(AttrLeafEntry), first, AttrLeafEntry.size)
  for (const item of attrLeafItems(view)) {
    const prefix = `nvlist[${item.index}].`
    const { nameidx: at, name } = item
    for (const one of item.local ? AttrNameLocalHead.list : AttrNameRemoteHead.list) {
      yield { form: 'field', path: prefix + one.name, field: one, at }
    }
    const nameAt = at + (item.local ? AttrNameLocalHead.size : AttrNameRemoteHead.size)
    yield single(`${prefix}name`, chars(name.length, 'name of the attribute'), nameAt)
    if (!item.local) continue
    if ((item.flags & AttrFlags.parent) !== 0 && item.value.length === ParentRec.size)
      yield* parentItems(prefix, nameAt + name.length)
    else if (item.value.length > 0)
      yield single(`${prefix}value`, chars(item.value.length, 'value of the attribute'), nameAt + name.length)
  }
}

const attr3Layout: Layout = (view, geometry) => guarded('', attr3Items(view, geometry))

// ------------------------------------------------------------------------------------------------ symlinks and quotas

const symlinkLayout: Layout = function* (view, geometry) {
  yield* structItems(SymlinkHdr, 0, '', geometry)
  const length = Math.min(SymlinkHdr.fields.bytes.get(view, 0), view.byteLength - SymlinkHdr.size)
  if (length > 0) yield single('data', chars(length, 'part of the target'), SymlinkHdr.size)
}

/** Timers of a quota record: what is allowed (id 0) or a point in time, in units of four seconds with bigtime. */
const quotaTimer = (offset: number, doc: string): Unnamed => {
  const raw = u32(offset, doc)
  return {
    ...(raw as unknown as Unnamed),
    text: (view, at) => {
      const value = raw.get(view, at)
      const seconds = (view.getUint8(at + 3) & DquotTypes.bigtime) !== 0 ? value * 4 : value
      return view.getUint32(at + 4) === 0 || seconds === 0 ? String(seconds) : timeText(seconds)
    },
  }
}

const dquotLayout: Layout = function* (_view, geometry) {
  for (const item of structItems(Dqblk, 0, '', geometry)) {
    if (item.form === 'field' && /timer$/.test(item.path))
      yield single(item.path, quotaTimer(item.field.offset, item.field.doc), item.at)
    else yield item
  }
}

// -------------------------------------------------------------------------------------------------------------- inodes

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Seconds since 1970 as C's ctime writes them, in local time. */
export function timeText(seconds: number): string {
  const date = new Date(seconds * 1000)
  if (Number.isNaN(date.getTime())) return String(seconds)
  const two = (value: number): string => String(value).padStart(2, '0')
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock} ${date.getFullYear()}`
}

const isBigtime = (view: DataView): boolean => view.getInt8(4) >= 3 && (view.getUint32(124) & DIFLAGS2.bigtime) !== 0

/** The two halves of a timestamp; which form it has is a flag of the inode, so `at` must be the inode's beginning, 0. */
function timestamp(path: string, offset: number): FieldItem[] {
  const raw = mask64(offset, '')
  const read = (view: DataView) => decodeTime(raw.get(view, 0), isBigtime(view))
  const write = (view: DataView, change: { seconds?: number; nanoseconds?: number }): void =>
    raw.set(view, 0, encodeTime({ ...read(view), ...change }, isBigtime(view)) as Mask64)
  const number = u32(offset, '')
  const seconds: Unnamed = {
    kind: 'time',
    doc: 'seconds since 1970',
    offset,
    size: 8,
    get: (view) => read(view).seconds,
    set: (view, _at, value) => write(view, { seconds: value as number }),
    text: (view) => timeText(read(view).seconds),
    parse: parseTime,
  }
  const nanoseconds: Unnamed = {
    kind: 'u32',
    doc: 'nanoseconds within the second',
    offset,
    size: 8,
    get: (view) => read(view).nanoseconds,
    set: (view, _at, value) => write(view, { nanoseconds: value as number }),
    text: (view) => String(read(view).nanoseconds),
    ...(number.parse ? { parse: number.parse } : {}),
  }
  return [single(`${path}.sec`, seconds, 0), single(`${path}.nsec`, nanoseconds, 0)]
}

/** Seconds as a number, or a date as `Date` reads it. */
function parseTime(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text)
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new XfsError('INVAL', `not a time: ${text}`)
  return Math.floor(time / 1000)
}

const FORMAT_NAMES = ['dev', 'local', 'extents', 'btree', 'uuid']
const format = (offset: number, doc: string): Unnamed => {
  const raw = u8(offset, doc)
  return {
    ...(raw as unknown as Unnamed),
    text: (view, at) => {
      const value = raw.get(view, at)
      return FORMAT_NAMES[value] ? `${value} (${FORMAT_NAMES[value]})` : String(value)
    },
  }
}

const mode: Unnamed = {
  ...(Dinode.fields.mode as unknown as Unnamed),
  text: (view, at) => {
    const value = Dinode.fields.mode.get(view, at)
    return value === 0 ? '0' : `0${value.toString(8)}`
  },
}

const METATYPES = [
  'unknown',
  'dir',
  'usrquota',
  'grpquota',
  'prjquota',
  'rtbitmap',
  'rtsummary',
  'rtrmap',
  'rtrefcount',
]
const metatype: Unnamed = {
  ...(u16(6, 'what a metadata file is for') as unknown as Unnamed),
  text: (view, at) => {
    const value = view.getUint16(at + 6)
    return METATYPES[value] ? `${value} (${METATYPES[value]})` : String(value)
  },
}

/** Names of the bits of `flags`, in the order in which they are printed. */
const FLAG_BITS: readonly (readonly [string, number])[] = [
  ['newrtbm', 2],
  ['prealloc', 1],
  ['realtime', 0],
  ['immutable', 3],
  ['append', 4],
  ['sync', 5],
  ['noatime', 6],
  ['nodump', 7],
  ['rtinherit', 8],
  ['projinherit', 9],
  ['nosymlinks', 10],
  ['extsz', 11],
  ['extszinherit', 12],
  ['nodefrag', 13],
  ['filestream', 14],
]
const FLAG2_BITS: readonly (readonly [string, number])[] = [
  ['reflink', 1],
  ['cowextsz', 2],
  ['dax', 0],
  ['bigtime', 3],
  ['nrext64', 4],
  ['metadata', 5],
]

function* inodeCore(view: DataView): Generator<Item> {
  const core = (name: string, one: unknown): FieldItem => single(`core.${name}`, one, 0)
  const { fields } = Dinode
  const version = view.getInt8(4)
  const v3 = version >= 3
  const wide = v3 && (view.getUint32(124) & DIFLAGS2.nrext64) !== 0
  const metadata = v3 && (view.getUint32(124) & DIFLAGS2.metadata) !== 0
  yield core('magic', fields.magic)
  yield core('mode', mode)
  yield core('version', fields.version)
  yield core('format', format(5, fields.format.doc))
  if (version === 1) yield core('nlinkv1', fields.onlink)
  else yield metadata ? core('metatype', metatype) : core('onlink', fields.onlink)
  yield core('uid', fields.uid)
  yield core('gid', fields.gid)
  if (version >= 2) {
    yield core('nlinkv2', fields.nlink)
    yield core('projid_lo', fields.projid_lo)
    yield core('projid_hi', fields.projid_hi)
  }
  if (wide) yield core('nextents', u64(24, 'extents of the data fork'))
  if (!v3) yield core('flushiter', u16(30, 'times that the inode was written'))
  yield* timestamp('core.atime', 32)
  yield* timestamp('core.mtime', 40)
  yield* timestamp('core.ctime', 48)
  yield core('size', fields.size)
  yield core('nblocks', fields.nblocks)
  yield core('extsize', fields.extsize)
  if (!wide) yield core('nextents', u32(76, 'extents of the data fork'))
  yield core('naextents', wide ? u32(76, 'extents of the attribute fork') : u16(80, 'extents of the attribute fork'))
  yield core('forkoff', fields.forkoff)
  yield core('aformat', format(83, fields.aformat.doc))
  yield core('dmevmask', x32(84, 'unused'))
  yield core('dmstate', fields.dmstate)
  for (const [name, bit] of FLAG_BITS) yield core(name, bits(90, 2, 15 - bit, 1, 'flag'))
  yield core('gen', fields.gen)
  yield single('next_unlinked', fields.next_unlinked, 0)
  if (!v3) return
  const more = (name: string, one: unknown): FieldItem => single(`v3.${name}`, one, 0)
  yield more('crc', fields.crc)
  yield more('change_count', fields.change_count)
  yield more('lsn', fields.lsn)
  yield more('flags2', fields.flags2)
  yield more('cowextsize', fields.cowextsize)
  yield* timestamp('v3.crtime', 144)
  yield more('inumber', fields.inumber)
  yield more('uuid', fields.uuid)
  for (const [name, bit] of FLAG2_BITS) yield more(name, bits(120, 8, 63 - bit, 1, 'flag'))
}

function* dataFork(view: DataView, geometry: Geometry): Generator<Item> {
  const start = geometry.coresize
  const { nextents, dataSize } = forkShape(view, 0, geometry)
  const kind = view.getUint16(2) & S_IFMT
  const size = Math.max(0, Math.min(Dinode.fields.size.get(view, 0), dataSize))
  const u = view.getInt8(4) >= 3 ? 'u3' : 'u'
  switch (view.getInt8(5)) {
    case FORK_FORMATS.dev:
      yield single(`${u}.dev`, x32(0, 'device number'), start)
      break
    case FORK_FORMATS.local:
      if (kind === FILE_TYPES.dir) yield* guarded(`${u}.sfdir3`, sfdirItems(view, start, size, `${u}.sfdir3.`))
      else if (size > 0)
        yield single(`${u}.${kind === FILE_TYPES.lnk ? 'symlink' : 'c'}`, chars(size, 'content'), start)
      break
    case FORK_FORMATS.extents:
      yield* extentItems(`${u}.bmx`, start, Math.min(nextents, Math.floor(dataSize / 16)))
      break
    case FORK_FORMATS.btree:
      yield* rootItems(view, start, dataSize, `${u}.bmbt.`)
      break
    case FORK_FORMATS.uuid:
      yield single(`${u}.muuid`, uuid(0, 'unused'), start)
  }
}

function* attrFork(view: DataView, geometry: Geometry): Generator<Item> {
  const { anextents, attrSize } = forkShape(view, 0, geometry)
  const start = geometry.inodesize - attrSize
  switch (view.getInt8(83)) {
    case FORK_FORMATS.local:
      yield* guarded('a.sfattr', sfattrItems(view, start, attrSize, geometry))
      break
    case FORK_FORMATS.extents:
      yield* extentItems('a.bmx', start, Math.min(anextents, Math.floor(attrSize / 16)))
      break
    case FORK_FORMATS.btree:
      yield* rootItems(view, start, attrSize, 'a.bmbt.')
  }
}

function* extentItems(path: string, at: number, count: number): Generator<Item> {
  if (count > 0) yield table(path, 0, count, bmbtRecs, at, BmbtRec.size)
}

function* rootItems(view: DataView, at: number, size: number, prefix: string): Generator<Item> {
  if (size < BmdrBlock.size) return
  for (const one of BmdrBlock.list) yield { form: 'field', path: prefix + one.name, field: one, at }
  const most = Math.floor((size - BmdrBlock.size) / 16)
  const count = Math.min(BmdrBlock.fields.numrecs.get(view, at), most)
  if (count === 0) return
  yield table(`${prefix}keys`, 1, count, bmbtKeys, at + BmdrBlock.size, 8)
  yield array(
    `${prefix}ptrs`,
    1,
    count,
    named('ptrs', fsbno(0, 'child', { to: 'btree' })),
    at + BmdrBlock.size + 8 * most,
    8,
  )
}

const inodeNumber = (wide: boolean): Unnamed =>
  (wide ? u64 : u32)(0, 'inode', { kind: 'ino', to: 'inode' }) as unknown as Unnamed

function* sfdirItems(view: DataView, at: number, size: number, prefix: string): Generator<Item> {
  if (size < 6) return
  const wide = DirSfHead.fields.i8count.get(view, at) !== 0
  const number = wide ? 'i8' : 'i4'
  for (const one of DirSfHead.list) yield { form: 'field', path: `${prefix}hdr.${one.name}`, field: one, at }
  if (size >= (wide ? 10 : 6)) yield single(`${prefix}hdr.parent.${number}`, inodeNumber(wide), at + 2)
  let i = 0
  for (const entry of sfEntries(view, at, size)) {
    const path = `${prefix}list[${i++}].`
    const nameAt = entry.at + DirSfEntryHead.size
    for (const one of DirSfEntryHead.list) yield { form: 'field', path: path + one.name, field: one, at: entry.at }
    yield single(`${path}name`, chars(entry.name.length, 'name of the entry'), nameAt)
    yield single(`${path}inumber.${number}`, inodeNumber(wide), nameAt + entry.name.length + 1)
    yield single(`${path}filetype`, u8(0, 'type of file'), nameAt + entry.name.length)
  }
}

function* sfattrItems(view: DataView, at: number, size: number, geometry: Geometry): Generator<Item> {
  if (size < AttrSfHdr.size) return
  yield* structItems(AttrSfHdr, at, 'a.sfattr.hdr.', geometry)
  let i = 0
  for (const entry of attrSfEntries(view, at, size)) {
    const path = `a.sfattr.list[${i++}].`
    yield* structItems(AttrSfEntryHead, entry.at, path, geometry)
    const nameAt = entry.at + AttrSfEntryHead.size
    const valueAt = nameAt + entry.name.length
    yield single(`${path}name`, chars(entry.name.length, 'name of the attribute'), nameAt)
    if ((entry.flags & AttrFlags.parent) !== 0 && entry.value.length === ParentRec.size)
      yield* parentItems(path, valueAt)
    else if (entry.value.length > 0)
      yield single(`${path}value`, chars(entry.value.length, 'value of the attribute'), valueAt)
  }
}

const inodeLayout: Layout = function* (view, geometry) {
  if (view.byteLength < geometry.inodesize) return
  yield* inodeCore(view)
  yield* orEmpty(view.getInt8(4) >= 3 ? 'u3' : 'u', dataFork(view, geometry))
  if (view.getUint8(82) !== 0) yield* orEmpty('a', attrFork(view, geometry))
}

/** A part of which nothing is there is printed as empty. */
function* orEmpty(path: string, items: Generator<Item>): Generator<Item> {
  let any = false
  for (const item of items) {
    any = true
    yield item
  }
  if (!any) yield { form: 'note', path, text: '(empty)' }
}

// --------------------------------------------------------------------------------------------------------- all of them

export const layouts = {
  sb: sbLayout,
  agf: agfLayout,
  agi: agiLayout,
  agfl: agflLayout,
  bnobt: btree('bnobt'),
  cntbt: btree('cntbt'),
  inobt: btree('inobt'),
  finobt: btree('finobt'),
  rmapbt: btree('rmapbt'),
  refcntbt: btree('refcountbt'),
  bmapbt: btree('bmbt'),
  inode: inodeLayout,
  dir3: dir3Layout,
  attr3: attr3Layout,
  symlink: symlinkLayout,
  dqblk: dquotLayout,
} as const satisfies Record<string, Layout>

// ------------------------------------------------------------------------------------------------- using such a list

/** A field at a place, as `print` and `write` address it. */
export interface Located {
  readonly path: string
  readonly field: Field<unknown>
  readonly at: number
}

/** Every single field of the items, with those inside arrays and tables: `recs[2].startblock`. */
export function* located(items: Iterable<Item>): Generator<Located> {
  for (const item of items) {
    if (item.form === 'field') yield { path: item.path, field: item.field, at: item.at }
    else if (item.form === 'array') {
      for (let i = 0; i < item.count; i++)
        yield { path: `${item.path}[${item.first + i}]`, field: item.field, at: item.at + i * item.step }
    } else if (item.form === 'table') {
      for (let i = 0; i < item.count; i++) {
        for (const { name, field: one, delta } of item.columns) {
          yield { path: `${item.path}[${item.first + i}].${name}`, field: one, at: item.at + i * item.step + delta }
        }
      }
    }
  }
}

/** The field of this path, `u3.sfdir3.list[2].name` or `recs[2].startblock`. */
export function locate(items: Iterable<Item>, path: string): Located | undefined {
  for (const one of located(items)) if (one.path === path) return one
  return undefined
}

const range = (path: string, first: number, count: number): string =>
  `${path}[${count === 1 ? first : `${first}-${first + count - 1}`}]`

/**
 * An item as xfs_db prints it, without line ends; a table takes a line for each record.
 *
 * @param crc what to say about a checksum: whether it is right
 */
export function itemText(view: DataView, item: Item, crc: (field: Field<unknown>, at: number) => boolean): string {
  if (item.form === 'note') return item.path === '' ? item.text : `${item.path} = ${item.text}`
  if (item.form === 'field') {
    const text = item.field.text(view, item.at)
    return `${item.path} = ${text}${item.field.kind === 'crc32c' ? (crc(item.field, item.at) ? ' (correct)' : ' (bad)') : ''}`
  }
  const { path, first, count, at, step } = item
  if (item.form === 'array') {
    const parts: string[] = []
    for (let i = 0; i < count; i++) {
      const text = item.field.text(view, at + i * step)
      if ((item.skip === 'null' && text === 'null') || (item.skip === 'zero' && text === '0')) continue
      parts.push((count > 1 ? `${first + i}:` : '') + text + (i < count - 1 ? ' ' : ''))
    }
    return `${range(path, first, count)} = ${parts.join('')}`
  }
  const lines = [`${range(path, first, count)} = [${item.columns.map((column) => column.name).join(',')}] `]
  for (let i = 0; i < count; i++) {
    const values = item.columns.map(({ field: one, delta }) => one.text(view, at + i * step + delta))
    lines.push(`${first + i}:[${values.join(',')}]${i < count - 1 ? ' ' : ''}`)
  }
  return lines.join('\n')
}
