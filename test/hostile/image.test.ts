import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { attributes } from '../../src/attr/attr.ts'
import { parentPointers } from '../../src/attr/parent.ts'
import { check } from '../../src/check/check.ts'
import { fileChunks } from '../../src/data/data.ts'
import { fpunch, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import type { BlockType } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { verify } from '../../src/format/verify/verify.ts'
import { createFile, mkdir, rename, unlink } from '../../src/namespace/namespace.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { statOf } from '../../src/namespace/stat.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { type Random, random } from '../support/random.ts'
import { repoRoot } from '../support/temp.ts'

/**
 * Images with one fault: a few bytes of one metadata block are changed, with a correct checksum.
 * Everything that reads or changes an image must end with a result or an XfsError: no other
 * exception, no hang, no unbounded memory.
 */
const IMAGES = process.env['XFSKIT_LONG'] === '1' ? 20_000 : 400
const MAX_FILE = 2 ** 24
const SLOW_MS = 10_000

const base = gunzipSync(readFileSync(join(repoRoot(), 'fixtures', 'clean', 'image.gz')))
const whole = memoryDevice(base.length)
whole.write(base, 0)
const { geometry } = Volume.open(whole)

interface Target {
  readonly type: BlockType
  readonly position: number
  readonly length: number
}

/** Every metadata block of the image: blocks that verify as a block of a type. */
function targets(): Target[] {
  const found: Target[] = []
  const { blocksize, sectsize } = geometry
  const tryAs = (type: BlockType, position: number, length: number): void => {
    const view = new DataView(base.buffer, base.byteOffset + position, length)
    if (
      type.magics.includes(view.getUint32(0)) ||
      type.magics.includes(view.getUint16(0)) ||
      type.magics.includes(view.getUint16(8))
    ) {
      if (!verify(type, view, { geometry, daddr: position / 512 })) found.push({ type, position, length })
    }
  }
  const sectors = [blockTypes.sb, blockTypes.agf, blockTypes.agi, blockTypes.agfl]
  for (let agno = 0; agno < geometry.agcount; agno++) {
    for (const [i, type] of sectors.entries())
      tryAs(type, agno * geometry.agblocks * blocksize + i * sectsize, sectsize)
  }
  const inBlocks = Object.values(blockTypes).filter(
    (type) => !sectors.includes(type) && type.magics.length > 0 && type.oneOf === undefined,
  )
  for (let position = 0; position + blocksize <= base.length; position += blocksize) {
    for (const type of inBlocks) tryAs(type, position, blocksize)
  }
  return found
}

/**
 * One fault: values that often cause errors, or random bytes. The place is more often in the header
 * than after it.
 */
function damaged(r: Random, { type, position, length }: Target): Device {
  const device = overlay(whole)
  const bytes = new Uint8Array(length)
  device.read(bytes, position)
  const before = bytes.slice()
  const at = r.chance(0.5) ? r.int(Math.min(length, 96)) : r.int(length)
  const size = Math.min(r.pick([1, 2, 4, 8]), length - at)
  const value = r.pick(['zero', 'ones', 'noise', 'plus', 'high'])
  for (let i = 0; i < size; i++) {
    const old = bytes[at + i] as number
    bytes[at + i] =
      value === 'zero'
        ? 0
        : value === 'ones'
          ? 255
          : value === 'noise'
            ? r.int(256)
            : value === 'plus'
              ? (old + 1) & 255
              : i === 0
                ? old ^ 0x80
                : old
  }
  stamp(type, new DataView(bytes.buffer), { geometry, daddr: position / 512 }, before)
  device.write(bytes, position)
  return device
}

/** Only an XfsError may be thrown. */
function survives(action: () => void): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
  }
}

function readAll(volume: Volume): void {
  const visit = { onError: () => {} }
  let files = 0
  for (const { inode } of walkTree(rootDirectory(volume), visit)) {
    if (++files > 5000) break
    survives(() => void statOf(inode))
    survives(() => void [...attributes(inode)])
    survives(() => void [...parentPointers(inode)])
    survives(() => void [...mappedRuns(inode)])
    survives(() => {
      if (!inode.isRegular) return
      let read = 0
      for (const { bytes } of fileChunks(inode)) {
        read += bytes?.length ?? 0
        if (read > MAX_FILE) return
      }
    })
  }
}

function changeThings(volume: Volume, r: Random): void {
  const files: number[] = []
  const names: string[] = []
  survives(() => {
    for (const { inode, path } of walkTree(rootDirectory(volume), { onError: () => {} })) {
      if (inode.isRegular) files.push(inode.ino)
      const name = Buffer.from(path).toString('utf8')
      if (name !== '' && !name.includes('\ufffd')) names.push(name)
      if (files.length > 500) break
    }
  })
  const file = (): number => (files.length > 0 ? r.pick(files) : 128)
  const name = (): string => (names.length > 0 ? r.pick(names) : 'x')
  for (let i = 0; i < 8; i++) {
    survives(() => void createFile(volume, `/new${i}`, 0o644))
    survives(() => void mkdir(volume, `/dir${i}`, 0o755))
    survives(() => void writeFile(volume, file(), r.int(2 ** 20), new Uint8Array(5000)))
    survives(() => void finish(reflink(volume, file(), file(), { srcOffset: 0, dstOffset: 0, length: 0 })))
    survives(() => void finish(unshare(volume, file(), { offset: 0, length: 2 ** 16 })))
    survives(() => fpunch(volume, file(), 4096, 8192))
    survives(() => truncate(volume, file(), r.int(2 ** 16)))
    survives(() => unlink(volume, name()))
    survives(() => rename(volume, name(), `/renamed${i}`))
  }
  survives(() => volume.close())
}

for (const [part, seed] of [1, 2, 3, 4].entries()) {
  test(`any lie in a metadata block ends in a result or an XfsError, part ${part + 1}`, () => {
    const r = random(seed)
    const list = targets()
    assert.ok(list.length > 50, `only ${list.length} metadata blocks found`)
    for (let i = 0; i < IMAGES / 4; i++) {
      const target = r.pick(list)
      const label = `seed ${seed}, image ${i}: ${target.type.name} at byte ${target.position}`
      const device = damaged(r, target)
      const start = performance.now()
      try {
        survives(() => void check(device, Volume.open(device).geometry))
        survives(() => readAll(Volume.open(device)))
        survives(() => changeThings(Volume.open(device, { write: true }), r))
      } catch (error) {
        throw new Error(`${label}: ${(error as Error).stack}`)
      }
      const took = performance.now() - start
      assert.ok(took < SLOW_MS, `${label}: took ${took.toFixed(0)} ms`)
    }
  })
}
