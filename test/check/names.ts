import { removeXattr, setXattr } from '../../src/attr/xattrs.ts'
import type { FieldItem, Item, Layout } from '../../src/db/layout/items.ts'
import { layouts } from '../../src/db/layout/layouts.ts'
import { entries } from '../../src/dir/read.ts'
import { ATTR3_RMT_MAGIC } from '../../src/format/attr.ts'
import { DIR_FREE_OFFSET, DIR_LEAF_OFFSET } from '../../src/format/dir.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes, resolveType } from '../../src/format/verify/blocktypes.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile, link, mkdir, symlink, unlink } from '../../src/namespace/namespace.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { inodePlace, type Place } from '../repair/victims.ts'
import { bytesDevice, Image } from './image.ts'

/**
 * Small images with directories, attributes and symbolic links of every format, and each of their
 * fields.
 */

const text = (value: string): Uint8Array => new TextEncoder().encode(value)
const padded = (index: number, length: number): string => `${index} `.padEnd(length, 'name ')

/** An ACL with `users` entries more than the three of every ACL, in the format of programs. */
function aclValue(users: number): Uint8Array {
  const rows = [
    [1, 6, -1],
    ...Array.from({ length: users }, (_, i) => [2, 4, 1000 + i]),
    [4, 4, -1],
    [16, 6, -1],
    [32, 4, -1],
  ]
  const view = new DataView(new ArrayBuffer(4 + 8 * rows.length))
  view.setUint32(0, 2, true)
  rows.forEach(([tag = 0, perm = 0, id = 0], i) => {
    view.setUint16(4 + 8 * i, tag, true)
    view.setUint16(6 + 8 * i, perm, true)
    view.setInt32(8 + 8 * i, id, true)
  })
  return new Uint8Array(view.buffer)
}

const MIB = 2 ** 20

const images = {
  '4 KiB': { megabytes: 48, options: { agcount: 3 } },
  '1 KiB, no parent pointers': { megabytes: 32, options: { agcount: 2, blocksize: 1024, features: { parent: false } } },
} as const satisfies Readonly<Record<string, { readonly megabytes: number; readonly options: MkfsOptions }>>

export const kinds = Object.keys(images) as readonly (keyof typeof images)[]

export function makeNames(kind: keyof typeof images): Image {
  const { megabytes, options } = images[kind]
  const bytes = new Uint8Array(megabytes * MIB)
  const device = bytesDevice(bytes)
  mkfs(device, { generation: 7, time: { seconds: 1, nanoseconds: 0 }, uuid: UUID, ...options })
  const volume = Volume.open(device, { write: true })
  const { dirblocksize, blocksize } = volume.geometry
  const target = createFile(volume, '/target', 0o644).ino
  const fill = (path: string, size: number): void => {
    mkdir(volume, path, 0o755)
    const names = Array.from({ length: Math.ceil(size / 80) }, (_, i) => `${path}/${padded(i, 40 + (i % 30))}`)
    for (const name of names) link(volume, target, name)
    for (const [i, name] of names.entries()) if (i % 7 === 3) unlink(volume, name)
  }
  mkdir(volume, '/shortform', 0o755)
  for (const name of ['file', 'another file', 'third']) createFile(volume, `/shortform/${name}`, 0o600)
  mkdir(volume, '/shortform/directory', 0o755)
  mkdir(volume, '/empty', 0o755)
  fill('/block', dirblocksize / 2)
  fill('/leaf', dirblocksize * 4)
  fill('/node', dirblocksize * 24)
  const short = createFile(volume, '/short attributes', 0o644).ino
  setXattr(volume, short, text('user.small'), text('value'))
  setXattr(volume, short, text('trusted.second'), text('another value'))
  setXattr(volume, short, text('system.posix_acl_access'), aclValue(1))
  const attributes = (path: string, count: number): void => {
    const { ino } = createFile(volume, path, 0o644)
    for (let i = 0; i < count; i++)
      setXattr(volume, ino, text(`user.${padded(i, 20)}`), text(padded(i, blocksize / 12)))
    for (let i = 1; i < count; i += 5) removeXattr(volume, ino, text(`user.${padded(i, 20)}`))
    setXattr(volume, ino, text('user.remote'), text(padded(1, 2 * blocksize + 100)))
  }
  attributes('/leaf attributes', 6)
  attributes('/node attributes', 60)
  const remote = createFile(volume, '/remote list', 0o644).ino
  setXattr(volume, remote, text('system.posix_acl_access'), aclValue(blocksize / 13))
  symlink(volume, 'target', '/short link')
  symlink(volume, `/${'long/'.repeat(200)}`, '/long link')
  volume.close()
  return new Image(bytes)
}

const UUID = '01234567-89ab-4cde-8f01-23456789abcd'

// ------------------------------------------------------------------------------------------ fields

/** First, second, third (after "." and ".."), middle and last. */
const some = (count: number): number[] =>
  [...new Set([0, 1, 2, count >> 1, count - 1])].filter((i) => i >= 0 && i < count)

type Part = Pick<Place, 'at' | 'size' | 'bits'> & { readonly name: string }

const partOf = (name: string, { field }: Pick<FieldItem, 'field'>, at: number): Part => ({
  name,
  at: at + field.offset,
  size: field.size,
  ...(field.bits ? { bits: field.bits } : {}),
})

/** The fields of an item; some elements of an array. */
function* partsOf(item: Item): Generator<Part> {
  if (item.form === 'field') yield partOf(item.path, item, item.at)
  else if (item.form === 'array')
    for (const i of some(item.count)) yield partOf(`${item.path}[${i}]`, item, item.at + i * item.step)
  else if (item.form === 'table')
    for (const i of some(item.count))
      for (const column of item.columns)
        yield partOf(`${item.path}[${item.first + i}].${column.name}`, column, item.at + i * item.step + column.delta)
}

/** The fields of a block or an inode; some entries of a list. */
function fieldsOf(layout: Layout, view: DataView, image: Image): Part[] {
  const parts = [...layout(view, image.geometry)].flatMap((item) => [...partsOf(item)])
  const list = ({ name }: Part): { path: string; index: number } | undefined => {
    const [, path, index] = name.match(/^(.*?)\[(\d+)\]\./) ?? []
    return path === undefined ? undefined : { path, index: Number(index) }
  }
  const counts = new Map<string, number>()
  for (const part of parts) {
    const place = list(part)
    if (place) counts.set(place.path, Math.max(counts.get(place.path) ?? 0, place.index + 1))
  }
  return parts.filter((part) => {
    const place = list(part)
    return !place || some(counts.get(place.path) ?? 0).includes(place.index) || /freetag|\.length$/.test(part.name)
  })
}

/** Maximum blocks of one type of one file whose fields are used. */
const ALIKE = 2

/**
 * The fields of directories, attributes and symbolic links: in inodes, and in the blocks that the
 * forks map.
 */
export function namePlaces(image: Image): Place[] {
  const volume = Volume.open(image.device)
  const places: Place[] = []
  for (const { name, ino } of entries(rootDirectory(volume))) {
    const path = `/${Buffer.from(name)}`
    const inode = openInode(volume, ino)
    const whole = { ...inodePlace(image.geometry, ino), ino }
    for (const { name: field, ...part } of fieldsOf(layouts.inode, image.inode(ino), image))
      if (/^(u3\.(sfdir3|symlink)|a\.sfattr)/.test(field)) places.push({ what: `${path} ${field}`, ...whole, ...part })
    const blocks = [...(inode.isRegular ? [] : forkBlocks(image, inode, false)), ...forkBlocks(image, inode, true)]
    const seen = new Map<BlockType, number>()
    for (const { offset, position, view, type, layout } of blocks) {
      const count = (seen.get(type) ?? 0) + 1
      seen.set(type, count)
      if (count > ALIKE || type.crcOffset === undefined) continue
      const block = { position, length: view.byteLength, crc: type.crcOffset, ino }
      for (const { name: field, ...part } of fieldsOf(layout, view, image))
        places.push({ what: `${path} ${type.name} ${offset} ${field}`, ...block, ...part })
    }
  }
  return places
}

interface ForkBlock {
  readonly offset: number
  readonly position: number
  readonly view: DataView
  readonly type: BlockType
  readonly layout: Layout
}

/** The blocks of a fork, those of a directory in its own block size. */
function* forkBlocks(image: Image, inode: Inode, attr: boolean): Generator<ForkBlock> {
  const { geometry } = image
  const directory = !attr && inode.isDirectory
  const mapped = image.forkBlocks(inode.ino, attr)
  // The extent of a symbolic link has one header, regardless of its number of blocks.
  const count = inode.isSymlink && !attr ? mapped.length : directory ? geometry.dirblocks : 1
  const length = count * geometry.blocksize
  for (const { offset, agno, agbno } of mapped) {
    if (offset % count !== 0) continue
    const last = mapped.find((block) => block.offset === offset + count - 1)
    if (last?.agbno !== agbno + count - 1) throw new Error(`inode ${inode.ino}: block ${offset} is not in one piece`)
    const position = geometry.daddr(agno, agbno) * BASIC_BLOCK
    const view = image.view(position, length)
    const declared = directory
      ? directoryType(offset * geometry.blocksize)
      : attr
        ? view.getUint32(0) === ATTR3_RMT_MAGIC
          ? blockTypes.attrRemote
          : blockTypes.da
        : blockTypes.symlink
    const type = resolveType(declared, view, geometry)
    if (!type) throw new Error(`inode ${inode.ino}: block ${offset} has no known type`)
    yield { offset, position, view, type, layout: directory ? layouts.dir3 : attr ? layouts.attr3 : layouts.symlink }
  }
}

const directoryType = (at: number): BlockType =>
  at < DIR_LEAF_OFFSET ? blockTypes.dir3 : at < DIR_FREE_OFFSET ? blockTypes.da : blockTypes.dirFree
