import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setAttr } from '../../src/attr/attr.ts'
import { truncate } from '../../src/data/fallocate.ts'
import type { Device } from '../../src/device/device.ts'
import { copyDevice, createFile as createDevice, openFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { type Overlay, overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { Superblock } from '../../src/format/sb.ts'
import { openInode, updateInode } from '../../src/inode/inode.ts'
import { allocateRange } from '../../src/mapping/bmap.ts'
import {
  createFile,
  createIn,
  link,
  linkIn,
  mkdir,
  rename,
  rmdir,
  symlink,
  unlink,
} from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage, repairSays, scratch } from './support.ts'

/** With few free blocks, or none, an operation is done or refused completely. */

const LONG = 'a rather long name that takes its room in a block '.repeat(5).slice(0, 250)

/** Directories and files that need a block next. */
function prepare(volume: Volume): void {
  const file = createFile(volume, 'file', 0o644)
  for (const [name, count] of [
    ['short', 3],
    ['block', 8],
    ['leaf', 60],
    ['node', 3000],
  ] as const) {
    const dir = mkdir(volume, name, 0o755)
    withTransaction(volume, (tx) => {
      for (let i = 0; i < count; i++)
        linkIn(tx, dir, Buffer.from(`${name}-${i}`.padEnd(name === 'node' ? 10 : 200, 'x')), file)
    })
  }
  const attrs = createFile(volume, 'attrs', 0o644)
  withTransaction(volume, (tx) => {
    for (let i = 0; i < 40; i++) setAttr(tx, attrs, { space: 0, name: Buffer.from(`name-${i}`) }, new Uint8Array(80))
  })
  mkdir(volume, 'empty', 0o755)
}

/** Allocate all free space, including reserved blocks; returns the file's size in blocks. */
function fill(volume: Volume): number {
  const { ino } = createFile(volume, 'filler', 0o644)
  let blocks = 0
  for (let step = 2 ** 14; step >= 1; ) {
    try {
      withTransaction(volume, (tx) => {
        const inode = openInode(volume, ino, tx)
        allocateRange(tx, inode, 'data', blocks, step, { unwritten: true })
        updateInode(tx, inode, { size: (blocks + step) * volume.geometry.blocksize })
      })
      blocks += step
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
      step = Math.floor(step / 2)
    }
  }
  return blocks
}

const operations: Readonly<Record<string, (volume: Volume) => void>> = {
  'create in shortform': (volume) => void createFile(volume, `short/${LONG}`, 0o644),
  'create in block': (volume) => void createFile(volume, `block/${LONG}`, 0o644),
  'create in leaf': (volume) => void createFile(volume, `leaf/${LONG}`, 0o644),
  'create many in node': (volume) =>
    withTransaction(volume, (tx) => {
      const dir = resolve(volume, 'node', { follow: true, reader: tx })
      for (let i = 0; i < 300; i++) createIn(tx, dir, Buffer.from(`new-${i}`), 0o100644)
    }),
  mkdir: (volume) => void mkdir(volume, 'leaf/directory', 0o755),
  symlink: (volume) => void symlink(volume, 'x'.repeat(900), 'short/link'),
  link: (volume) => link(volume, resolve(volume, 'attrs').ino, `block/${LONG}`),
  'rename into block': (volume) => rename(volume, 'attrs', `block/${LONG}`),
  'rename a directory': (volume) => rename(volume, 'node', `short/${LONG}`),
  'set a remote attribute': (volume) =>
    withTransaction(volume, (tx) =>
      setAttr(
        tx,
        resolve(volume, 'attrs', { follow: true, reader: tx }),
        { space: 0, name: Buffer.from('large') },
        new Uint8Array(30000),
      ),
    ),
  'set many attributes': (volume) =>
    withTransaction(volume, (tx) => {
      for (let i = 0; i < 60; i++)
        setAttr(
          tx,
          resolve(volume, 'file', { follow: true, reader: tx }),
          { space: 2, name: Buffer.from(`${i}${LONG}`.slice(0, 255)) },
          new Uint8Array(300),
        )
    }),
  unlink: (volume) => unlink(volume, `leaf/${'leaf-5'.padEnd(200, 'x')}`),
  rmdir: (volume) => rmdir(volume, 'empty'),
  'unlink many': (volume) => {
    for (let i = 0; i < 2990; i++) unlink(volume, `node/${`node-${i}`.padEnd(10, 'x')}`)
  },
}

/** Counts the bytes written. */
function counted(base: Device): Device & { writes: number; layer: Overlay } {
  const layer = overlay(base)
  const device = {
    writes: 0,
    layer,
    size: layer.size,
    readOnly: false,
    read: (into: Uint8Array, position: number) => layer.read(into, position),
    write: (bytes: Uint8Array, position: number) => {
      device.writes++
      layer.write(bytes, position)
    },
    zero: (position: number, length: number) => layer.zero(position, length),
    flush: () => {},
    close: () => {},
  }
  return device
}

const freeBlocks = (volume: Volume): number => Superblock.fields.fdblocks.get(volume.superblock().view, 0)

for (const [label, args] of [
  ['defaults', []],
  ['1k blocks, no rmapbt', ['-b', 'size=1k', '-m', 'rmapbt=0']],
  ['8k directory blocks', ['-n', 'size=8k']],
] as const) {
  test(`no space: ${label}`, (t) => {
    const folder = scratch(t)
    const image = join(folder, 'a.img')
    makeImage(image, '301m', ['-d', 'agcount=2', ...args])
    const content = readFileSync(image)
    const base = memoryDevice(content.length, content)
    const volume = Volume.open(base, { write: true })
    prepare(volume)
    const blocks = fill(volume)
    volume.sync()
    const full = join(folder, 'full.img')
    const target = createDevice(full, base.size)
    copyDevice(base, target)
    target.close()
    let refused = 0
    let done = 0
    const judged = new Set<string>()
    for (const [name, operation] of Object.entries(operations)) {
      for (const spare of name === 'unlink many' ? [0] : [0, 1, 2, 3, 4, 6, 8, 12, 20, 40, 200]) {
        const device = counted(base)
        const copy = Volume.open(device, { write: true })
        if (spare > 0) truncate(copy, resolve(copy, 'filler').ino, (blocks - spare) * copy.geometry.blocksize)
        copy.sync()
        device.writes = 0
        const before = freeBlocks(copy)
        const state = snapshot(copy)
        let result = 'done'
        try {
          operation(copy)
          done++
        } catch (error) {
          if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
          refused++
          result = 'refused'
          copy.sync()
          assert.equal(device.writes, 0, `${name} with ${spare} blocks: nothing is written`)
          assert.equal(freeBlocks(copy), before)
          assert.deepEqual(snapshot(copy), state)
          assert.ok(!/unlink|rmdir/.test(name), `${name} is always possible`)
        }
        copy.sync()
        // The first that was refused, and the first that was done.
        if (judged.has(`${name} ${result}`)) continue
        judged.add(`${name} ${result}`)
        const file = join(folder, 'copy.img')
        execFileSync('cp', ['--sparse=always', full, file])
        apply(device.layer, file)
        assert.equal(repairSays(file), '', `${name} with ${spare} blocks: ${result}`)
      }
    }
    t.diagnostic(`${done} done, ${refused} refused`)
    assert.ok(refused > 20 && done > 20)
  })
}

/** Write the changes to the image file. */
function apply(layer: Overlay, file: string): void {
  const target = openFile(file, 'rw')
  for (const { start, length } of layer.changed()) {
    const bytes = new Uint8Array(length)
    layer.read(bytes, start)
    target.write(bytes, start)
  }
  target.close()
}

/** The bytes of the AG headers and of the root inode. */
function snapshot(volume: Volume): string[] {
  const headers = [volume.superblock(), volume.agf(0), volume.agi(0), volume.agfl(0), resolve(volume, '/').buf]
  return headers.map((buf) => Buffer.from(buf.bytes).toString('base64'))
}
