import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileChunks } from '../../src/data/data.ts'
import { truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { LongBlock } from '../../src/format/btblock.ts'
import { Dinode } from '../../src/format/dinode.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp, stampInode } from '../../src/format/verify/stamp.ts'
import { extentCount, forkStart, type Inode, openInode } from '../../src/inode/inode.ts'
import { extents } from '../../src/mapping/extents.ts'
import { openForkTree } from '../../src/mapping/fork.ts'
import { add, type Bytes } from '../../src/util/bytes.ts'
import { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { fill, makeImage, manifest, scratch } from './support.ts'

const MOST_EXTENTS = 100_000

/** Read everything of a file. An XfsError is a result; other errors are not. */
function readAll(volume: Volume, ino: number): string {
  try {
    const inode = openInode(volume, ino)
    let count = 0
    for (const fork of ['data', 'attr'] as const) {
      for (const _ of extents(inode, fork)) if (++count > MOST_EXTENTS) throw new Error('too many extents')
    }
    for (const _ of [
      inode.atime,
      inode.mtime,
      inode.ctime,
      inode.crtime,
      inode.nlink,
      inode.projid,
      extentCount(inode, 'attr'),
    ]);
    let bytes: Bytes = 0
    for (const chunk of fileChunks(inode, 0, 2 ** 26)) bytes = add(bytes, chunk.length)
    return `read ${bytes}`
  } catch (error) {
    if (error instanceof XfsError) return error.code
    throw error
  }
}

function changeAll(volume: Volume, ino: number): string {
  try {
    writeFile(volume, ino, 10_000, new Uint8Array(50_000).fill(1))
    truncate(volume, ino, 12_345)
    truncate(volume, ino, 0)
    volume.sync()
    return 'changed'
  } catch (error) {
    if (error instanceof XfsError) return error.code
    throw error
  }
}

function prepare(t: { after(action: () => void): void }): { image: string; inos: number[] } {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m', ['-b', 'size=1k'])
  fill(
    image,
    `
    head -c 5m /dev/urandom > tree; head -c 40k /dev/urandom > few; cp --reflink=always few twin
    { for i in $(seq 0 2 3000); do echo "fpunch $((i * 1024)) 1024"; done; } | $XFS_IO tree
    { for i in $(seq 0 3 30); do echo "fpunch $((i * 1024)) 1024"; done; } | $XFS_IO few
    setfattr -n user.long -v $(head -c 600 /dev/zero | tr '\\0' x) few || true
  `,
    (twin) => {
      for (const name of ['tree', 'few', 'twin']) twin.create(name, 0o644)
      twin.write('tree', 0, random(1).bytes(5 * 2 ** 20))
      twin.write('few', 0, random(2).bytes(40 * 1024))
      twin.clone('few', 'twin', { srcOffset: 0, dstOffset: 0, length: 0 })
      for (let i = 0; i <= 3000; i += 2) twin.allocate('tree', 'punch', i * 1024, 1024)
      for (let i = 0; i <= 30; i += 3) twin.allocate('few', 'punch', i * 1024, 1024)
      twin.setXattr('few', 'user.long', new Uint8Array(600).fill(0x78), 'any')
    },
  )
  return {
    image,
    inos: manifest(image)
      .filter((file) => file.hash)
      .map((file) => file.ino),
  }
}

/** A volume on a copy of the image with a changed inode, with a correct checksum. */
function withInode(image: string, ino: number, change: (view: DataView, at: number) => void): Volume {
  const device = overlay(openFile(image, 'r'))
  const before = Volume.open(device)
  const { geometry } = before
  const { daddr, at } = openInode(before, ino)
  const bytes = new Uint8Array(geometry.blocksize)
  device.read(bytes, daddr * 512)
  const view = new DataView(bytes.buffer)
  change(view, at)
  stampInode(view, at, geometry)
  device.write(bytes, daddr * 512)
  return Volume.open(device, { write: true })
}

const VALUES = [0, 1, 5, 7, 0xff, 0xffff, 0x7fffffff, 0xffffffff]

test('every field of an inode wrong in turn', (t) => {
  const { image, inos } = prepare(t)
  const seen = new Map<string, number>()
  for (const ino of inos) {
    for (const field of Dinode.list) {
      for (const value of VALUES) {
        const put = (view: DataView, at: number): void => {
          for (let i = 0; i < field.size; i++)
            view.setUint8(
              at + field.offset + field.size - 1 - i,
              i < 4 ? (value >>> (8 * i)) & 0xff : value === 0xffffffff ? 0xff : 0,
            )
        }
        const volume = withInode(image, ino, put)
        const answer = readAll(volume, ino)
        seen.set(answer.split(' ')[0] as string, (seen.get(answer.split(' ')[0] as string) ?? 0) + 1)
        if (value === 7 || value === 0xffff) changeAll(volume, ino)
        volume.device.close()
      }
    }
  }
  assert.ok((seen.get('CORRUPT') ?? 0) > 50, JSON.stringify([...seen]))
})

test('extent records and btree roots made of anything', (t) => {
  const { image, inos } = prepare(t)
  let state = 1
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state
  }
  for (const ino of inos) {
    for (let round = 0; round < 100; round++) {
      const volume = withInode(image, ino, (view, at) => {
        const start = at + 176
        for (let i = 0; i < 1 + (round % 4); i++) {
          const offset = next() % 300
          if (round % 3 === 0) view.setUint32(start + (offset & ~3), next())
          else view.setUint8(start + offset, next() % 256)
        }
      })
      readAll(volume, ino)
      changeAll(volume, ino)
      volume.device.close()
    }
  }
})

test('a bmbt block with each header field wrong, a loop, and an empty leaf', (t) => {
  const { image, inos } = prepare(t)
  const plain = Volume.open(openFile(image, 'r'))
  const tree = inos.map((ino) => openInode(plain, ino)).find((inode) => extentCount(inode, 'data') > 1000) as Inode
  const { geometry } = plain
  const root = openForkTree('bmbt', tree, 'data').root
  assert.ok(root.inline)
  const { view, at, maxrecs } = root.block()
  assert.equal(at, forkStart(tree, 'data'))
  const child = Number(view.getBigUint64(at + 4 + maxrecs * 8))
  const daddr = geometry.fsbToDaddr(child)
  const good = new Uint8Array(geometry.blocksize)
  plain.device.read(good, daddr * 512)
  let refused = 0
  for (const field of LongBlock.list) {
    for (const value of [...VALUES, child % 2 ** 32]) {
      const bytes = good.slice()
      const block = new DataView(bytes.buffer)
      for (let i = 0; i < field.size; i++)
        bytes[field.offset + field.size - 1 - i] = i < 4 ? (value >>> (8 * i)) & 0xff : value === 0xffffffff ? 0xff : 0
      if (field.name !== 'crc') stamp(blockTypes.bmbt, block, { geometry, daddr })
      const device = overlay(openFile(image, 'r'))
      device.write(bytes, daddr * 512)
      const volume = Volume.open(device, { write: true })
      if (!readAll(volume, tree.ino).startsWith('read')) refused++
      changeAll(volume, tree.ino)
      device.close()
    }
  }
  assert.ok(refused > 40, `${refused} refused`)
  // Pointers and keys of the block.
  for (let i = 0; i < 150; i++) {
    const bytes = good.slice()
    const place = 72 + ((i * 7919) % (geometry.blocksize - 72))
    bytes[place] = (i * 31) & 0xff
    stamp(blockTypes.bmbt, new DataView(bytes.buffer), { geometry, daddr })
    const device = overlay(openFile(image, 'r'))
    device.write(bytes, daddr * 512)
    const volume = Volume.open(device, { write: true })
    readAll(volume, tree.ino)
    changeAll(volume, tree.ino)
    device.close()
  }
  plain.close()
})
