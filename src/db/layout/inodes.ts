import { AttrFlags, AttrSfEntryHead, AttrSfHdr, ParentRec } from '../../format/attr.ts'
import { attrSfEntries } from '../../format/attrentries.ts'
import { bits } from '../../format/bitfield.ts'
import { BmdrBlock } from '../../format/btblock.ts'
import { BmbtKey, BmbtRec } from '../../format/btrecs.ts'
import { DIFLAGS, DIFLAGS2, Dinode, FILE_TYPES, FORK_FORMATS, flags2Of, S_IFMT } from '../../format/dinode.ts'
import { DirSfEntryHead, DirSfHead } from '../../format/dir.ts'
import { sfEntries } from '../../format/dirshortform.ts'
import { fsbno, u8, u16, u32, u64, uuid, x32 } from '../../format/fields.ts'
import { forkShape } from '../../format/forkshape.ts'
import type { Geometry } from '../../format/geometry.ts'
import type { Field, Mask64, Unnamed } from '../../format/struct.ts'
import { decodeTime, encodeTime, type Timestamp } from '../../format/time.ts'
import { treeForms } from '../../format/trees.ts'
import { rootMaxRecords } from '../../format/treesizes.ts'
import { parentItems } from './attributes.ts'
import { recordColumns } from './btrees.ts'
import { filetype } from './directories.ts'
import {
  array,
  chars,
  type FieldItem,
  guarded,
  type Item,
  type Layout,
  named,
  printed,
  single,
  structItems,
  table,
} from './items.ts'
import { parseTime, timeText } from './time.ts'

/** Inodes and the contents of their forks. */

const { fields } = Dinode
const isV3 = (view: DataView): boolean => fields.version.get(view, 0) >= 3
/** Is the flag set? False for an inode without `flags2`. */
const hasFlag2 = (view: DataView, mask: number): boolean => isV3(view) && (flags2Of(view, 0) & mask) !== 0
const isBigtime = (view: DataView): boolean => hasFlag2(view, DIFLAGS2.bigtime)

/**
 * The two halves of a timestamp. A flag of the inode selects their format, so `at` must be the
 * start of the inode, 0.
 */
function timestamp(path: string, stored: Field<Mask64>): FieldItem[] {
  const read = (view: DataView) => decodeTime(stored.get(view, 0), isBigtime(view))
  const write = (view: DataView, change: Partial<Timestamp>): void =>
    stored.set(view, 0, encodeTime({ ...read(view), ...change }, isBigtime(view)))
  const { offset, size } = stored
  const seconds: Unnamed<number> = {
    kind: 'time',
    doc: 'seconds since 1970',
    offset,
    size,
    get: (view) => read(view).seconds,
    set: (view, _at, value) => write(view, { seconds: value }),
    text: (view) => timeText(read(view).seconds),
    parse: parseTime,
  }
  const nanoseconds: Unnamed<number> = {
    ...u32(offset, 'nanoseconds within the second'),
    size,
    get: (view) => read(view).nanoseconds,
    set: (view, _at, value) => write(view, { nanoseconds: value }),
    text: (view) => String(read(view).nanoseconds),
  }
  return [single(`${path}.sec`, seconds, 0), single(`${path}.nsec`, nanoseconds, 0)]
}

/** A number with names for its values: `1 (local)`. */
const withNames = (field: Unnamed<number>, names: readonly string[]): Unnamed =>
  printed(field, (value) => (names[value] === undefined ? String(value) : `${value} (${names[value]})`))

const FORMAT_NAMES = ['dev', 'local', 'extents', 'btree', 'uuid']
const formatOf = ({ offset, doc }: Field<number>): Unnamed => withNames(u8(offset, doc), FORMAT_NAMES)
const mode = printed(fields.mode, (value) => (value === 0 ? '0' : `0${value.toString(8)}`))
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
const metatype = withNames(u16(fields.onlink.offset, 'what a metadata file is for'), METATYPES)

/** Flags with another name in xfs_db. */
const FLAG_NAMES: Readonly<Record<string, string>> = { extsize: 'extsz', cowextsize: 'cowextsz' }

/** The bits of a word of flags; `first` are those that xfs_db prints first. */
function flagBits(
  { offset, size }: Field<unknown>,
  flags: Readonly<Record<string, number>>,
  first: readonly string[],
): (readonly [name: string, bit: Unnamed])[] {
  const names = [...first, ...Object.keys(flags).filter((name) => !first.includes(name))]
  return names.map((name) => {
    const bit = size * 8 - 32 + Math.clz32(flags[name] as number)
    return [FLAG_NAMES[name] ?? name, bits(offset, size, bit, 1, 'flag')]
  })
}
const FLAG_BITS = flagBits(fields.flags, DIFLAGS, ['newrtbm', 'prealloc', 'realtime'])
const FLAG2_BITS = flagBits(fields.flags2, DIFLAGS2, ['reflink', 'cowextsize'])

function* inodeCore(view: DataView): Generator<Item> {
  const core = (name: string, one: Unnamed): FieldItem => single(`core.${name}`, one, 0)
  const version = fields.version.get(view, 0)
  const v3 = isV3(view)
  const wide = hasFlag2(view, DIFLAGS2.nrext64)
  yield core('magic', fields.magic)
  yield core('mode', mode)
  yield core('version', fields.version)
  yield core('format', formatOf(fields.format))
  if (version === 1) yield core('nlinkv1', fields.onlink)
  else yield hasFlag2(view, DIFLAGS2.metadata) ? core('metatype', metatype) : core('onlink', fields.onlink)
  yield core('uid', fields.uid)
  yield core('gid', fields.gid)
  if (version >= 2) {
    yield core('nlinkv2', fields.nlink)
    yield core('projid_lo', fields.projid_lo)
    yield core('projid_hi', fields.projid_hi)
  }
  if (wide) yield core('nextents', fields.big_nextents)
  if (!v3) yield core('flushiter', flushiter)
  yield* timestamp('core.atime', fields.atime)
  yield* timestamp('core.mtime', fields.mtime)
  yield* timestamp('core.ctime', fields.ctime)
  yield core('size', fields.size)
  yield core('nblocks', fields.nblocks)
  yield core('extsize', fields.extsize)
  if (!wide) yield core('nextents', fields.nextents)
  yield core('naextents', wide ? fields.nextents : fields.anextents)
  yield core('forkoff', fields.forkoff)
  yield core('aformat', formatOf(fields.aformat))
  yield core('dmevmask', dmevmask)
  yield core('dmstate', fields.dmstate)
  for (const [name, bit] of FLAG_BITS) yield core(name, bit)
  yield core('gen', fields.gen)
  yield single('next_unlinked', fields.next_unlinked, 0)
  if (!v3) return
  const more = (name: string, one: Unnamed): FieldItem => single(`v3.${name}`, one, 0)
  yield more('crc', fields.crc)
  yield more('change_count', fields.change_count)
  yield more('lsn', fields.lsn)
  yield more('flags2', fields.flags2)
  yield more('cowextsize', fields.cowextsize)
  yield* timestamp('v3.crtime', fields.crtime)
  yield more('inumber', fields.inumber)
  yield more('uuid', fields.uuid)
  for (const [name, bit] of FLAG2_BITS) yield more(name, bit)
}
/** V2 inodes have it in the last two bytes of the extent count of V3. */
const flushiter = u16(fields.big_nextents.offset + 6, 'times that the inode was written')
const dmevmask = x32(fields.dmevmask.offset, fields.dmevmask.doc)

function* dataFork(view: DataView, geometry: Geometry): Generator<Item> {
  const start = geometry.coresize
  const { nextents, dataSize } = forkShape(view, 0, geometry)
  const kind = fields.mode.get(view, 0) & S_IFMT
  const size = Math.max(0, Math.min(fields.size.get(view, 0), dataSize))
  const u = isV3(view) ? 'u3' : 'u'
  switch (fields.format.get(view, 0)) {
    case FORK_FORMATS.dev:
      yield single(`${u}.dev`, x32(0, 'device number'), start)
      break
    case FORK_FORMATS.local:
      if (kind === FILE_TYPES.dir) yield* guarded(`${u}.sfdir3`, sfdirItems(view, start, size, `${u}.sfdir3.`))
      else if (size > 0)
        yield single(`${u}.${kind === FILE_TYPES.lnk ? 'symlink' : 'c'}`, chars(size, 'content'), start)
      break
    case FORK_FORMATS.extents:
      yield* extentItems(`${u}.bmx`, start, Math.min(nextents, Math.floor(dataSize / BmbtRec.size)))
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
  switch (fields.aformat.get(view, 0)) {
    case FORK_FORMATS.local:
      yield* guarded('a.sfattr', sfattrItems(view, start, attrSize, geometry))
      break
    case FORK_FORMATS.extents:
      yield* extentItems('a.bmx', start, Math.min(anextents, Math.floor(attrSize / BmbtRec.size)))
      break
    case FORK_FORMATS.btree:
      yield* rootItems(view, start, attrSize, 'a.bmbt.')
  }
}

function* extentItems(path: string, at: number, count: number): Generator<Item> {
  if (count > 0) yield table(path, 0, count, recordColumns(BmbtRec), at, BmbtRec.size)
}

const child = named('ptrs', fsbno(0, 'child', { to: 'btree' }))

function* rootItems(view: DataView, at: number, size: number, prefix: string): Generator<Item> {
  if (size < BmdrBlock.size) return
  for (const one of BmdrBlock.list) yield { form: 'field', path: prefix + one.name, field: one, at }
  const { keyStride, ptrSize } = treeForms.bmbt
  const most = rootMaxRecords(size)
  const count = Math.min(BmdrBlock.fields.numrecs.get(view, at), most)
  if (count === 0) return
  const keys = at + BmdrBlock.size
  yield table(`${prefix}keys`, 1, count, recordColumns(BmbtKey), keys, keyStride)
  yield array(`${prefix}ptrs`, 1, count, child, keys + keyStride * most, ptrSize)
}

/**
 * The inode number of a shortform entry: 4 bytes, or 8 if one of the directory's numbers needs
 * them.
 */
const inodeNumbers = {
  i4: u32(0, 'inode', { kind: 'ino', to: 'inode' }),
  i8: u64(0, 'inode', { kind: 'ino', to: 'inode' }),
} as const

function* sfdirItems(view: DataView, at: number, size: number, prefix: string): Generator<Item> {
  if (size < DirSfHead.size + inodeNumbers.i4.size) return
  const width = DirSfHead.fields.i8count.get(view, at) !== 0 ? 'i8' : 'i4'
  const number = inodeNumbers[width]
  for (const one of DirSfHead.list) yield { form: 'field', path: `${prefix}hdr.${one.name}`, field: one, at }
  if (size >= DirSfHead.size + number.size) yield single(`${prefix}hdr.parent.${width}`, number, at + DirSfHead.size)
  let i = 0
  for (const entry of sfEntries(view, at, size)) {
    const path = `${prefix}list[${i++}].`
    const nameAt = entry.at + DirSfEntryHead.size
    for (const one of DirSfEntryHead.list) yield { form: 'field', path: path + one.name, field: one, at: entry.at }
    yield single(`${path}name`, chars(entry.name.length, 'name of the entry'), nameAt)
    yield single(`${path}inumber.${width}`, number, nameAt + entry.name.length + filetype.size)
    yield single(`${path}filetype`, filetype, nameAt + entry.name.length)
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

export const inodeLayout: Layout = function* (view, geometry) {
  if (view.byteLength < geometry.inodesize) return
  yield* inodeCore(view)
  yield* orEmpty(isV3(view) ? 'u3' : 'u', dataFork(view, geometry))
  if (fields.forkoff.get(view, 0) !== 0) yield* orEmpty('a', attrFork(view, geometry))
}

/** A part without items is printed as empty. */
function* orEmpty(path: string, items: Generator<Item>): Generator<Item> {
  let any = false
  for (const item of items) {
    any = true
    yield item
  }
  if (!any) yield { form: 'note', path, text: '(empty)' }
}
