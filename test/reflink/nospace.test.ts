import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { fpunch } from '../../src/data/fallocate.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { Superblock } from '../../src/format/sb.ts'
import { openInode } from '../../src/inode/inode.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { fsr } from '../../src/reflink/fsr.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { withTempDir } from '../support/temp.ts'
import { type Files, filesOf, newImage, openVolume } from './images.ts'

/**
 * Space runs out at the n-th allocation of an operation, for every n (or every few, unless
 * XFSKIT_LONG), once or permanently. The operation is refused, or stops at the end of an extent.
 * The image is sound, no blocks are lost or left over, and every block of every file has its old or
 * its new content.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const PATHS = ['a', 'b', 'c', 'd']

/** Shared files with hundreds of extents: trees of several blocks at 1 KiB, about to split. */
function prepare(files: Files): void {
  const { volume } = files
  const { blocksize } = volume.geometry
  files.fill('a', 0, 400)
  for (let i = 0; i < 400; i += 2) fpunch(volume, files.ino('a'), i * blocksize, blocksize)
  files.fill('b', 0, 300, 3)
  for (let i = 0; i < 300; i += 3) fpunch(volume, files.ino('b'), i * blocksize, blocksize)
  files.clone('b', 'c')
  for (let i = 0; i < 250; i += 10) files.fill('c', i, 1, 100)
  files.fill('d', 0, 1, 3)
}

const operations: Readonly<Record<string, (files: Files) => void>> = {
  'clone of many extents': (files) => files.clone('a', 'd'),
  'clone over many extents': (files) => files.clone('a', 'c', { length: 300 * files.volume.geometry.blocksize }),
  dedupe: (files) => {
    const length = 40 * files.volume.geometry.blocksize
    files.write('d', 0, files.read('a').subarray(0, length))
    finish(dedupe(files.volume, files.ino('a'), files.ino('d'), { srcOffset: 0, dstOffset: 0, length }))
  },
  'write into shared blocks': (files) => files.fill('c', 20, 60, 77),
  'one byte in each of many shared blocks': (files) => {
    for (let i = 31; i < 131; i += 5) files.write('c', i * files.volume.geometry.blocksize + 5, Uint8Array.of(99))
  },
  unshare: (files) =>
    void finish(unshare(files.volume, files.ino('c'), { offset: 0, length: 300 * files.volume.geometry.blocksize })),
  'fsr, keeping sharers': (files) => void finish(fsr(files.volume, files.ino('c'), { shared: 'keep' })),
}

const contents = (files: Files): Buffer[] => PATHS.map((path) => files.read(path))
const freeBlocks = (volume: Volume): number => Superblock.fields.fdblocks.get(volume.superblock().view, 0)

/** The number of mapped blocks, without duplicates, and of blocks of block maps. */
function usedBlocks(files: Files): number {
  const blocks = new Set<number>()
  let trees = 0
  for (const path of PATHS) {
    const inode = openInode(files.volume, files.ino(path))
    let mapped = 0
    for (const { startblock, blockcount } of mappedRuns(inode)) {
      mapped += blockcount
      for (let i = 0; i < blockcount; i++) blocks.add(startblock + i)
    }
    trees += inode.nblocks - mapped
  }
  return blocks.size + trees
}

for (const [name, operation] of Object.entries(operations)) {
  for (const mode of ['once', 'for good'] as const) {
    test(`no space at every allocation, ${mode}: ${name}`, () => {
      withTempDir((folder) => {
        const image = newImage(folder, 'image', '300m', ['-b', 'size=1024'])
        const first = openVolume(image)
        prepare(filesOf(first))
        first.close()
        const base = openFile(image, 'r')
        /** Run the operation with space running out at the `failAt`-th allocation. */
        const attempt = (failAt: number): { allocations: number; refused: boolean; files: Files } => {
          let allocations = 0
          const beforeAllocation = (): void => {
            allocations++
            if (allocations === failAt || (mode === 'for good' && allocations > failAt))
              throw new XfsError('NOSPC', 'injected')
          }
          const files = filesOf(Volume.open(overlay(base), { write: true, beforeAllocation }))
          try {
            operation(files)
            return { allocations, refused: false, files }
          } catch (error) {
            assert.ok(error instanceof XfsError && error.code === 'NOSPC', String(error))
            return { allocations, refused: true, files }
          }
        }
        const untouched = filesOf(Volume.open(overlay(base), { write: true }))
        const before = contents(untouched)
        const total = freeBlocks(untouched.volume) + usedBlocks(untouched)
        const whole = attempt(Number.POSITIVE_INFINITY)
        const after = contents(whole.files)
        assert.ok(whole.allocations > 0, 'it allocates nothing')
        for (let n = 1; n <= whole.allocations; n += LONG ? 1 : Math.ceil(whole.allocations / 25)) {
          const { refused, files } = attempt(n)
          const { volume } = files
          volume.sync()
          const findings = check(volume.device, Volume.open(volume.device).geometry).findings.list.map(
            (finding) => `${finding.id}: ${describe(finding)}`,
          )
          assert.deepEqual(findings.slice(0, 10), [], `allocation ${n} of ${whole.allocations}`)
          if (mode === 'for good' && !name.startsWith('fsr')) assert.ok(refused, `allocation ${n}: not refused`)
          const { blocksize } = volume.geometry
          for (const [i, now] of contents(files).entries()) {
            const what = `${PATHS[i]} after allocation ${n}`
            assertBlocks(now, before[i] as Buffer, after[i] as Buffer, blocksize, what)
          }
          const groupTrees = freeBlocks(volume) + usedBlocks(files) - total
          assert.ok(Math.abs(groupTrees) <= 4, `allocation ${n}: ${groupTrees} blocks more or less than before`)
        }
      })
    })
  }
}

function assertBlocks(now: Buffer, before: Buffer, after: Buffer, blocksize: number, what: string): void {
  for (let at = 0; at < now.length; at += blocksize) {
    const block = now.subarray(at, at + blocksize)
    const same = (other: Buffer): boolean => block.equals(other.subarray(at, at + block.length))
    const grown = at >= before.length && block.every((byte) => byte === 0)
    assert.ok(same(before) || same(after) || grown, `${what}: block ${at / blocksize}`)
  }
}
