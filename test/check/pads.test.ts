import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeFile } from '../../src/data/write.ts'
import { structures } from '../../src/db/types.ts'
import { openFile } from '../../src/device/file.ts'
import { XfsError } from '../../src/errors.ts'
import { AclDiskEntry, AclHdr } from '../../src/format/acl.ts'
import { Agf, Agi } from '../../src/format/ag.ts'
import { Attr3LeafHdr, AttrLeafEntry, AttrSfEntryHead, AttrSfHdr } from '../../src/format/attr.ts'
import { LongBlock, ShortBlock } from '../../src/format/btblock.ts'
import { RmapKey, RmapRec } from '../../src/format/btrecs.ts'
import { Dinode, FORK_FORMATS } from '../../src/format/dinode.ts'
import { Da3NodeHdr, Dir3DataHdr, Dir3FreeHdr, Dir3LeafHdr } from '../../src/format/dir.ts'
import { Superblock } from '../../src/format/sb.ts'
import type { Field, Struct } from '../../src/format/struct.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes, resolveType } from '../../src/format/verify/blocktypes.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { Volume } from '../../src/volume.ts'
import { damage, type Place } from '../repair/victims.ts'
import { checkFindings, makeImage, mountImage, repairComplaints, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import type { Image } from './image.ts'
import { makeNames } from './names.ts'

/**
 * Padding that is not zero, with a correct checksum. Check finds it if the declaration requires
 * zeros, and only then; so does xfs_repair. In a long run the kernel reads images with padding that
 * it ignores.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'

/** A structure in an object with one checksum. */
interface Instance extends Pick<Place, 'position' | 'length' | 'crc'> {
  readonly struct: Struct
  readonly at: number
  readonly what: string
}

/** Enough for extents in btree format. */
const PIECES = 150

function imageWithAll(): Image {
  const image = makeNames('1 KiB, no parent pointers')
  const volume = Volume.open(image.device, { write: true })
  const { ino } = createFile(volume, '/many extents', 0o644)
  for (let i = 0; i < PIECES; i++) writeFile(volume, ino, 2 * i * volume.geometry.blocksize, new Uint8Array([1]))
  volume.close()
  return image
}

const headers = new Map<BlockType, unknown>([
  [blockTypes.dirBlock, Dir3DataHdr],
  [blockTypes.dirData, Dir3DataHdr],
  [blockTypes.dirFree, Dir3FreeHdr],
  [blockTypes.dirLeaf1, Dir3LeafHdr],
  [blockTypes.dirLeafN, Dir3LeafHdr],
  [blockTypes.daNode, Da3NodeHdr],
  [blockTypes.attrLeaf, Attr3LeafHdr],
])
const ACL_NAME = 'SGI_ACL_FILE'

/** Each structure with padding, at least once. */
function* instances(image: Image): Generator<Instance> {
  const { geometry } = image
  const volume = Volume.open(image.device)
  const inoOf = (path: string): number => resolve(volume, path).ino
  const positionOf = (view: DataView): number => view.byteOffset - image.bytes.byteOffset
  const one = (what: string, struct: unknown, view: DataView, crc: number, at = 0): Instance => ({
    what,
    struct: struct as Struct,
    at,
    position: positionOf(view),
    length: view.byteLength,
    crc,
  })
  for (const agno of [0, 1]) {
    yield one(`AG ${agno}`, Superblock, image.header(agno, 'sb'), Superblock.fields.crc.offset)
    yield one(`AG ${agno}`, Agf, image.header(agno, 'agf'), Agf.fields.crc.offset)
    yield one(`AG ${agno}`, Agi, image.header(agno, 'agi'), Agi.fields.crc.offset)
  }
  const node = image.block(0, image.root('rmapbt'))
  assert.ok(ShortBlock.fields.level.get(node, 0) > 0)
  const { key } = image.nodePlace('rmapbt', 1)
  const { crc } = ShortBlock.fields
  yield one('a low key', RmapKey, node, crc.offset, key)
  yield one('a high key', RmapKey, node, crc.offset, key + RmapKey.size)
  const { view, at } = image.find('rmapbt', (_, __, { index }) => index === 3)
  yield one('a record', RmapRec, view, crc.offset, at)
  const child = image.bmbtChildren(inoOf('/many extents'))[0]?.fsbno as number
  const bmbt = image.block(geometry.agnoOf(child), geometry.agbnoOf(child))
  yield one('/many extents', LongBlock, bmbt, LongBlock.fields.crc.offset)
  for (const path of ['/many extents', '/block', '/short link'])
    yield one(path, Dinode, image.inode(inoOf(path)), Dinode.fields.crc.offset)
  for (const path of ['/block', '/leaf', '/node', '/leaf attributes', '/node attributes'])
    yield* inBlocks(path, path.endsWith('attributes'))
  const inode = image.inode(inoOf('/short attributes'))
  assert.equal(Dinode.fields.aformat.get(inode, 0), FORK_FORMATS.local)
  const list = geometry.coresize + Dinode.fields.forkoff.get(inode, 0) * 8
  const acl = Buffer.from(image.bytes.buffer, inode.byteOffset, inode.byteLength).indexOf(ACL_NAME)
  assert.ok(acl > list)
  for (const [struct, at] of [
    [AttrSfHdr, list],
    [AttrSfEntryHead, list + AttrSfHdr.size],
    [AclDiskEntry, acl + ACL_NAME.length + AclHdr.size],
  ] as const)
    yield one('/short attributes', struct, inode, Dinode.fields.crc.offset, at)

  function* inBlocks(path: string, attr: boolean): Generator<Instance> {
    const seen = new Set<BlockType>()
    for (const { offset, agno, agbno } of image.forkBlocks(inoOf(path), attr)) {
      if (!attr && offset % geometry.dirblocks !== 0) continue
      const length = attr ? geometry.blocksize : geometry.dirblocksize
      const view = image.view(positionOf(image.block(agno, agbno)), length)
      const type = [blockTypes.dir3, blockTypes.da, { ...blockTypes.dir3, oneOf: [blockTypes.dirFree] }]
        .map((one) => resolveType(one, view, geometry))
        .find((one) => one !== undefined)
      if (!type || seen.has(type)) continue
      seen.add(type)
      yield one(path, headers.get(type), view, type.crcOffset as number)
      if (type === blockTypes.attrLeaf)
        yield one(path, AttrLeafEntry, view, type.crcOffset as number, Attr3LeafHdr.size)
    }
  }
}

/** The padding of a structure and of its inner structures, with their offsets. */
function* padsOf(struct: Struct, base = 0): Generator<{ readonly field: Field<unknown>; readonly base: number }> {
  for (const field of struct.list) {
    if (field.inner) yield* padsOf(field.inner, base + field.offset)
    else if (field.kind === 'pad') yield { field, base }
  }
}

/** Structures that check does not read: quota records, and those of the log. */
const UNREAD = /^(disk_dquot|dqblk|log_record|log_dinode|extent_64|\w+_log_?format)$/

function isFound(image: Image): boolean {
  try {
    return image.check().findings.total > 0
  } catch (error) {
    if (error instanceof XfsError) return true
    throw error
  }
}

/** Read all names, attributes and data. @returns the kernel's complaint about the image */
function kernelComplaint(file: string): string | undefined {
  const read = (folder: string): string | undefined => {
    for (const [command = '', ...words] of [
      ['ls', '-lR'],
      ['getfattr', '-h', '-R', '-d', '-m', '-'],
      ['grep', '-r', 'never there'],
    ]) {
      const { status, stderr } = spawnSync(command, [...words, folder], { encoding: 'latin1', maxBuffer: 2 ** 28 })
      if (status !== 0 && stderr !== '') return `${command}: ${stderr}`
    }
    return undefined
  }
  try {
    return mountImage(file, read, { options: 'ro' })
  } catch (error) {
    return String(error)
  }
}

test('padding that must be zero is found, other padding is ignored', { timeout: 0 }, (t) => {
  const image = imageWithAll()
  assert.deepEqual(image.check().findings.list, [])
  const counts = { found: 0, ignored: 0 }
  const tried = new Set<string>()
  withTempDir((folder) => {
    const file = join(folder, 'image')
    for (const { struct, at, what, ...whole } of instances(image)) {
      for (const { field, base } of padsOf(struct)) {
        tried.add(struct.name)
        const { offset, size, bits } = field
        const name = `${struct.name}.${field.name} of ${what}`
        const before = image.bytes.slice(whole.position, whole.position + whole.length)
        const place = { what: name, ...whole, at: at + base + offset, size, ...(bits && { bits }) }
        assert.ok(damage(image.device, place, 'flip the last bit', true), name)
        const mustBeZero = field.zero === true
        counts[mustBeZero ? 'found' : 'ignored']++
        assert.equal(isFound(image), mustBeZero, name)
        if (skip.newest === false) {
          writeFileSync(file, image.bytes)
          const complaint = repairComplaints(file)
          assert.equal(complaint !== undefined, mustBeZero, `${name}: ${complaint}`)
          if (LONG && !mustBeZero && skip.kernel === false) assert.equal(kernelComplaint(file), undefined, name)
        }
        image.bytes.set(before, whole.position)
      }
    }
  })
  t.diagnostic(JSON.stringify(counts))
  const withPads = [...structures.values()].filter((struct) => !padsOf(struct).next().done).map(({ name }) => name)
  const nested = [...structures.values()].flatMap(({ list }) => list.flatMap(({ inner }) => inner?.name ?? []))
  assert.deepEqual(
    withPads.filter((name) => !tried.has(name) && !nested.includes(name) && !UNREAD.test(name)),
    [],
  )
})

test('the kernel refuses a superblock with metadir whose padding is not zero', { skip: skip.newest }, () => {
  withTempDir((folder) => {
    const file = join(folder, 'image')
    makeImage(file, '300m', ['-m', 'metadir=1'])
    assert.deepEqual(checkFindings(file), [])
    const sector = { what: 'superblock', position: 0, length: 512, crc: Superblock.fields.crc.offset }
    const { offset, size } = Superblock.fields.pad1
    const device = openFile(file, 'rw')
    assert.ok(damage(device, { ...sector, at: offset, size }, 'flip the last bit', true))
    device.close()
    assert.match(checkFindings(file).join('\n'), /^sb\.rule: .*pad1/)
    if (skip.kernel === false) assert.match(kernelComplaint(file) ?? '', /mount/)
  })
})
