import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { attributes, findAttr, removeAttr, setAttr } from '../../src/attr/attr.ts'
import { parentPointers } from '../../src/attr/parent.ts'
import { check } from '../../src/check/check.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { entries, lookup, parentOf, removeEntry, replaceEntry } from '../../src/dir/dir.ts'
import { XfsError } from '../../src/errors.ts'
import { Dinode } from '../../src/format/dinode.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import { extents } from '../../src/mapping/extents.ts'
import { createFile, createIn, linkIn, mkdir, symlink, unlink } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { readSymlink } from '../../src/symlink.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { addEntry } from './entries.ts'
import { makeImage, scratch } from './support.ts'

/**
 * Bytes that contradict the format, with correct checksums: every read and every change ends with a
 * result or an XfsError, in bounded time, and never with another exception.
 */

const IMAGE_MEGABYTES = 320

/** Directories and attributes of every format. */
function build(image: string, args: readonly string[]): Device {
  makeImage(image, `${IMAGE_MEGABYTES}m`, args)
  const content = readFileSync(image)
  const device = memoryDevice(content.length, content)
  const volume = Volume.open(device, { write: true })
  const file = createFile(volume, 'file', 0o644)
  for (const [name, count] of [
    ['short', 4],
    ['block', 30],
    ['leaf', 300],
    ['node', 3000],
  ] as const) {
    const dir = mkdir(volume, name, 0o755)
    withTransaction(volume, (tx) => {
      for (let i = 0; i < count; i++) linkIn(tx, dir, Buffer.from(`${name}-${i}`), file)
    })
  }
  for (const [name, count, size] of [
    ['a-short', 2, 10],
    ['a-leaf', 10, 60],
    ['a-node', 200, 60],
    ['a-remote', 3, 5000],
  ] as const) {
    const inode = createFile(volume, name, 0o644)
    withTransaction(volume, (tx) => {
      for (let i = 0; i < count; i++)
        setAttr(tx, inode, { space: 0, name: Buffer.from(`name-${i}`) }, new Uint8Array(size).fill(i))
    })
  }
  symlink(volume, 'x'.repeat(800), 'link')
  volume.sync()
  return device
}

interface Target {
  readonly path: string
  readonly type: BlockType
  readonly daddr: number
  readonly length: number
  /** The bytes to change. */
  readonly spans: readonly (readonly [number, number])[]
}

/** The inode and the blocks of both forks (for large files the first few of each kind). */
function targets(volume: Volume, path: string): Target[] {
  const inode = resolve(volume, path, { follow: false })
  const { blocksize, dirblocksize, inodesize, fsbToDaddr } = volume.geometry
  const found: Target[] = [
    { path, type: blockTypes.inodes, daddr: inode.daddr, length: blocksize, spans: [[inode.at, inode.at + inodesize]] },
  ]
  for (const fork of ['data', 'attr'] as const) {
    const length = fork === 'data' && inode.isDirectory ? dirblocksize : blocksize
    const seen = new Map<string, number>()
    for (const rec of extents(inode, fork)) {
      for (let i = 0; i < rec.blockcount; i += length / blocksize) {
        const type =
          fork === 'data' && inode.isSymlink
            ? blockTypes.symlink
            : typeAt(volume, fsbToDaddr(rec.startblock + i), length)
        const count = seen.get(type.name) ?? 0
        seen.set(type.name, count + 1)
        if (count < 2)
          found.push({
            path,
            type,
            daddr: fsbToDaddr(rec.startblock + i),
            length,
            spans: [
              [0, 144],
              [length - 96, length],
            ],
          })
      }
    }
  }
  return found
}

function typeAt(volume: Volume, daddr: number, length: number): BlockType {
  const bytes = new Uint8Array(length)
  volume.device.read(bytes, daddr * BASIC_BLOCK)
  const view = new DataView(bytes.buffer)
  const types = [
    blockTypes.dirBlock,
    blockTypes.dirData,
    blockTypes.dirLeaf1,
    blockTypes.dirLeafN,
    blockTypes.dirFree,
    blockTypes.daNode,
    blockTypes.attrLeaf,
    blockTypes.attrRemote,
  ]
  for (const type of types) {
    const { offset = 0, size = 4 } = type.magic ?? {}
    if (type.magics.includes(size === 2 ? view.getUint16(offset) : view.getUint32(offset))) return type
  }
  return blockTypes.data
}

/** Call everything that reads and changes; only an XfsError may be thrown. */
function exercise(device: Device, path: string, ino: number): string[] {
  const codes: string[] = []
  const attempt = (action: () => unknown): void => {
    try {
      action()
    } catch (error) {
      if (!(error instanceof XfsError)) throw error
      codes.push(error.code)
    }
  }
  const volume = Volume.open(device, { write: true })
  const open = (): Inode => openInode(volume, ino)
  const change = (action: (inode: Inode, tx: Parameters<Parameters<typeof withTransaction>[1]>[0]) => void): void =>
    attempt(() => withTransaction(volume, (tx) => action(openInode(volume, ino, tx), tx)))
  const long = Buffer.from('a name that is long enough to need a lot of room in its block'.repeat(3))
  attempt(() => [...entries(open())].length)
  attempt(() => parentOf(open()))
  for (const one of [`${path}-0`, `${path}-1`, `${path}-2999`, 'none']) attempt(() => lookup(open(), Buffer.from(one)))
  attempt(() => [...attributes(open())].map((attr) => attr.read().length))
  attempt(() => [...parentPointers(open())])
  for (const one of ['name-0', 'name-100', 'none'])
    attempt(() => findAttr(open(), { space: 0, name: Buffer.from(one) })?.read())
  attempt(() => readSymlink(open()))
  attempt(() => resolve(volume, `${path}/${path}-1/..`))
  change((inode, tx) => createIn(tx, inode, long, 0o100644))
  change((inode, tx) => addEntry(tx, inode, Buffer.from('short'), 128, 1))
  change((inode, tx) => removeEntry(tx, inode, Buffer.from(`${path}-1`)))
  change((inode, tx) => replaceEntry(tx, inode, Buffer.from('..'), 2 ** 33, 2))
  change((inode, tx) => setAttr(tx, inode, { space: 0, name: Buffer.from('name-0') }, new Uint8Array(100)))
  change((inode, tx) => setAttr(tx, inode, { space: 0, name: long.subarray(0, 200) }, new Uint8Array(700)))
  change((inode, tx) => removeAttr(tx, inode, { space: 0, name: Buffer.from('name-1') }))
  attempt(() => unlink(volume, path))
  attempt(() => volume.sync())
  return codes
}

for (const [label, args] of [
  ['4k blocks', ['-i', 'size=512']],
  ['1k blocks, 4k directory blocks', ['-b', 'size=1k', '-n', 'size=4k']],
] as const) {
  test(`hostile directories and attributes: ${label}`, (t) => {
    const image = join(scratch(t), 'a.img')
    const base = build(image, args)
    const volume = Volume.open(base)
    const rand = random(99)
    const long = process.env['XFSKIT_LONG'] === '1'
    const seen = new Map<string, number>()
    let cases = 0
    let slowest = 0
    for (const path of ['short', 'block', 'leaf', 'node', 'a-short', 'a-leaf', 'a-node', 'a-remote', 'link']) {
      const { ino } = resolve(volume, path, { follow: false })
      for (const target of targets(volume, path)) {
        for (const [from, to] of target.spans) {
          for (let at = from; at < to; at += 2) {
            if (!long && !rand.chance(0.4)) continue
            const before = new Uint8Array(target.length)
            base.read(before, target.daddr * BASIC_BLOCK)
            const old = new DataView(before.buffer).getUint16(at)
            const values = [0, 0xffff, old ^ 0x8000, old + 1, old ^ 1, old - 8, rand.int(65536)]
            for (const value of long ? values : [rand.pick(values)]) {
              const bytes = before.slice()
              const view = new DataView(bytes.buffer)
              view.setUint16(at, value & 0xffff)
              stamp(target.type, view, { geometry: volume.geometry, daddr: target.daddr }, before)
              const layer = overlay(base)
              layer.write(bytes, target.daddr * BASIC_BLOCK)
              const start = performance.now()
              try {
                for (const code of exercise(layer, path, ino)) seen.set(code, (seen.get(code) ?? 0) + 1)
              } catch (error) {
                const place = `${path}: ${target.type.name} at ${target.daddr}, offset ${at - from} of ${from} (${at - (target.type === blockTypes.inodes ? from : 0)}): ${old} became ${view.getUint16(at)}`
                throw new Error(`${place}: ${error instanceof Error ? error.stack : error}`)
              }
              slowest = Math.max(slowest, performance.now() - start)
              cases++
            }
          }
        }
      }
    }
    // No memory is allocated for claimed sizes.
    const megabytes = process.resourceUsage().maxRSS / 1024
    assert.ok(slowest < 10_000 && megabytes < 6 * IMAGE_MEGABYTES, `slowest ${slowest} ms, ${megabytes} MB`)
    t.diagnostic(
      `${megabytes.toFixed(0)} MB, ${cases} cases, slowest ${slowest.toFixed(0)} ms, ${JSON.stringify([...seen])}`,
    )
    assert.ok((seen.get('CORRUPT') ?? 0) > 0)
  })
}

test('a size that the content does not have is found; what claims to be huge is refused or read, soon', (t) => {
  const base = build(join(scratch(t), 'a.img'), [])
  const lie = (path: string, size: number): string[] => {
    const layer = overlay(base)
    const volume = Volume.open(layer, { write: true })
    const { ino } = resolve(volume, path, { follow: false })
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, ino, tx)
      tx.edit(inode.buf)
      Dinode.fields.size.set(inode.view, inode.at, size)
    })
    volume.sync()
    const start = performance.now()
    exercise(overlay(layer), path, ino)
    assert.ok(performance.now() - start < 1000, `${path} of ${size} bytes`)
    return check(layer, Volume.open(layer).geometry).findings.list.map(({ id }) => id)
  }
  for (const [path, sizes] of [
    ['short', [20, 47, 49, 190]],
    ['block', [4095, 8192]],
    ['leaf', [0, 4096, 12_288, 2 ** 34, 2 ** 44, 2 ** 52]],
    ['node', [4096, 2 ** 45]],
    ['link', [1, 799, 801, 2000, 2 ** 40]],
  ] as const)
    for (const size of sizes) assert.notDeepEqual(lie(path, size), [], `${path} of ${size} bytes`)
})

test('wrong indexes of names and attributes, and undefined flags: found', (t) => {
  const base = build(join(scratch(t), 'a.img'), [])
  const volume = Volume.open(base)
  assert.deepEqual(check(base, volume.geometry).findings.list, [])
  const inode = (path: string): number => resolve(volume, path, { follow: false }).at
  const rows: readonly (readonly [path: string, type: string, offset: number, what: string])[] = [
    ['node', 'daNode', 3, 'a neighbour of the root'], ['node', 'daNode', 67, 'a hash value'], ['node', 'daNode', 71, 'a child'], ['node', 'dirLeafN', 3, 'a neighbour'],
    ['node', 'dirLeafN', 7, 'the other neighbour'], ['node', 'dirFree', 65, 'free space'], ['node', 'dirFree', 59, 'the count'], ['leaf', 'dirLeaf1', 3, 'a neighbour'],
    ['leaf', 'dirLeaf1', 4096 - 5, 'free space'], ['leaf', 'dirData', 74, 'the type of "."'], ['leaf', 'dirData', 51, 'the longest free space'],
    ['a-node', 'daNode', 3, 'a neighbour of the root'], ['a-node', 'daNode', 67, 'a hash value'], ['a-node', 'daNode', 71, 'a child'], ['a-node', 'attrLeaf', 3, 'a neighbour'],
    ['a-leaf', 'attrLeaf', 3, 'a neighbour'], ['file', 'inodes', inode('file') + 90, 'flags'], ['file', 'inodes', inode('file') + 122, 'flags2'],
    ['file', 'inodes', inode('file') + 7, 'the old link count'], ['file', 'inodes', inode('file') + 99, 'the next unlinked inode'],
    ['short', 'inodes', inode('short') + 176 + 8, 'the place of the first entry'], ['a-short', 'inodes', inode('a-short') + 176 + 4 + 2, 'flags of an attribute'],
    ['a-short', 'inodes', inode('a-short') + 176 + 1, 'flags of an attribute fork: its length'],
  ] // biome-ignore format: a table
  for (const [path, type, offset, what] of rows) {
    const forkAt = what.startsWith('flags of an') ? resolve(volume, path).forkoff * 8 : 0
    const target = targets(volume, path).find((one) => one.type.name === type)
    assert.ok(target, `${path} ${type}`)
    const before = new Uint8Array(target.length)
    base.read(before, target.daddr * BASIC_BLOCK)
    const bytes = before.slice()
    const at = offset + forkAt
    bytes[at] = (before[at] as number) ^ 0x80
    stamp(target.type, new DataView(bytes.buffer), { geometry: volume.geometry, daddr: target.daddr }, before)
    const layer = overlay(base)
    layer.write(bytes, target.daddr * BASIC_BLOCK)
    assert.notDeepEqual(check(layer, volume.geometry).findings.list, [], `${what}: ${path}, ${type} ${offset}`)
  }
})
