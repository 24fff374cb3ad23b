import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { constants, copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFile } from '../../src/data/data.ts'
import { falloc, fcollapse, finsert, fpunch, fzero, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import { openFile } from '../../src/device/file.ts'
import { extentCount, forkFormat, openInode } from '../../src/inode/inode.ts'
import { extents } from '../../src/mapping/extents.ts'
import { Volume } from '../../src/volume.ts'
import {
  fill,
  joinExtents,
  type KernelFile,
  makeImage,
  manifest,
  mounted,
  repairSays,
  scratch,
  sha256,
  skipKernel,
  tools,
} from './support.ts'

/** A repeatable sequence of numbers in [0, 1). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

interface Step {
  readonly path: string
  /** The command of xfs_io. */
  readonly command: string
  run(volume: Volume, ino: number): void
}

/** Operations that the kernel accepts after any others; `sizes` is updated. */
function* steps(blocksize: number, sizes: Map<string, number>, next: () => number): Generator<Step> {
  const names = [...sizes.keys()]
  const upTo = (most: number): number => Math.floor(next() * most)
  for (;;) {
    const path = names[upTo(names.length)] as string
    const size = sizes.get(path) as number
    const offset = upTo(600_000)
    const length = Math.floor(next() ** 3 * 200_000) + 1
    const end = offset + length
    const blockOffset = upTo(Math.ceil(size / blocksize)) * blocksize
    const blockLength = (upTo(20) + 1) * blocksize
    const grow = (to: number): void => void sizes.set(path, Math.max(size, to))
    switch (upTo(9)) {
      case 0:
      case 1: {
        const byte = upTo(255) + 1
        grow(end)
        yield {
          path,
          command: `pwrite -S ${byte} ${offset} ${length}`,
          run: (volume, ino) => void writeFile(volume, ino, offset, new Uint8Array(length).fill(byte)),
        }
        break
      }
      case 2:
        sizes.set(path, offset)
        yield { path, command: `truncate ${offset}`, run: (volume, ino) => truncate(volume, ino, offset) }
        break
      case 3:
        grow(end)
        yield { path, command: `falloc ${offset} ${length}`, run: (volume, ino) => falloc(volume, ino, offset, length) }
        break
      case 4:
        yield {
          path,
          command: `falloc -k ${offset} ${length}`,
          run: (volume, ino) => falloc(volume, ino, offset, length, { keepSize: true }),
        }
        break
      case 5:
        yield { path, command: `fpunch ${offset} ${length}`, run: (volume, ino) => fpunch(volume, ino, offset, length) }
        break
      case 6:
        grow(end)
        yield { path, command: `fzero ${offset} ${length}`, run: (volume, ino) => fzero(volume, ino, offset, length) }
        break
      case 7:
        if (blockOffset + blockLength >= size) continue
        sizes.set(path, size - blockLength)
        yield {
          path,
          command: `fcollapse ${blockOffset} ${blockLength}`,
          run: (volume, ino) => fcollapse(volume, ino, blockOffset, blockLength),
        }
        break
      default:
        if (blockOffset >= size || size > 3_000_000) continue
        sizes.set(path, size + blockLength)
        yield {
          path,
          command: `finsert ${blockOffset} ${blockLength}`,
          run: (volume, ino) => finsert(volume, ino, blockOffset, blockLength),
        }
    }
  }
}

const prepare = `
head -c 300000 /dev/urandom > a; cp --reflink=auto a b; cp --reflink=auto a c; echo d > d; $XFS_IO -f -c 'falloc 0 100k' e
`

for (const { name, size = '320m', args, long, hints } of [
  { name: 'newest defaults', args: [], long: true },
  { name: '1k blocks', args: ['-b', 'size=1k'] },
  { name: '16k blocks', args: ['-b', 'size=16k'], size: '400m' },
  { name: 'no rmapbt', args: ['-m', 'rmapbt=0'] },
  { name: 'extent size hints', args: [], hints: true },
  { name: 'no reflink, no rmapbt, old counters', args: ['-m', 'reflink=0,rmapbt=0', '-i', 'nrext64=0'] },
] as { name: string; size?: string; args: string[]; long?: true; hints?: true }[]) {
  test(`the same cuts and fills by us and by the kernel: ${name}`, { skip: skipKernel }, (t) => {
    const directory = scratch(t)
    const [ours, theirs] = [join(directory, 'ours.img'), join(directory, 'theirs.img')]
    makeImage(ours, size, args)
    fill(ours, prepare)
    if (hints) fill(ours, "for f in f g h; do $XFS_IO -f -c 'extsize 64k' $f; echo x > $f; done")
    copyFileSync(ours, theirs, constants.COPYFILE_FICLONE)
    const files = manifest(ours)
    const inos = new Map(files.map(({ path, ino }) => [path, ino]))
    const sizes = new Map(files.map((file) => [file.path, Number(file.size)]))
    const { blocksize } = Volume.open(openFile(ours, 'r')).geometry
    const source = steps(blocksize, sizes, random(11))
    for (let round = 0; round < (long ? 5 : 3); round++) {
      const list = Array.from({ length: 80 }, () => source.next().value as Step)
      const volume = Volume.open(openFile(ours, 'rw'), { write: true })
      for (const step of list) {
        try {
          step.run(volume, inos.get(step.path) as number)
        } catch (error) {
          throw new Error(`${step.path}: ${step.command}`, { cause: error })
        }
      }
      volume.close()
      mounted(
        theirs,
        (top) => {
          for (const path of inos.keys()) {
            const input = list
              .filter((step) => step.path === path)
              .map((step) => `${step.command}\n`)
              .join('')
            const said = execFileSync(tools.io as string, [join(top, path)], {
              input,
              encoding: 'utf8',
              stdio: ['pipe', 'pipe', 'pipe'],
            })
            assert.ok(!/nvalid|rror/.test(said), said)
          }
        },
        `loop,allocsize=${Math.max(4096, blocksize)}`,
      )
      assert.equal(repairSays(ours), '', `round ${round}`)
      same(ours, manifest(theirs), hints === true)
    }
  })
}

test('extents that are taken apart and put together again', (t) => {
  const image = join(scratch(t), 'a.img')
  makeImage(image, '320m')
  fill(image, 'head -c 1m /dev/urandom > a', (twin) => {
    twin.create('a', 0o644)
    twin.write(
      'a',
      0,
      Uint8Array.from({ length: 2 ** 20 }, (_, i) => (i * 31 + (i >> 8)) & 0xff),
    )
  })
  const file = manifest(image).find(({ path }) => path === '/a') as KernelFile
  const volume = Volume.open(openFile(image, 'rw'), { write: true })
  const count = 200
  for (let i = count; i > 0; i--) finsert(volume, file.ino, i * 4096, 8192)
  assert.equal(extentCount(openInode(volume, file.ino), 'data'), count + 1)
  assert.equal(forkFormat(openInode(volume, file.ino), 'data'), 3)
  for (let i = 1; i <= count; i++) fcollapse(volume, file.ino, i * 4096, 8192)
  assert.equal(extentCount(openInode(volume, file.ino), 'data'), file.extents?.length)
  assert.equal(forkFormat(openInode(volume, file.ino), 'data'), 2)
  volume.close()
  assert.equal(repairSays(image), '')
  assert.equal(manifest(image).find(({ path }) => path === '/a')?.hash, file.hash)
})

function same(image: string, kernel: readonly KernelFile[], hints: boolean): void {
  const volume = Volume.open(openFile(image, 'r'))
  const perBlock = volume.geometry.blocksize / 512
  for (const file of kernel) {
    const inode = openInode(volume, file.ino)
    assert.equal(inode.size, Number(file.size), file.path)
    assert.equal(sha256(readFile(inode)), file.hash, file.path)
    // The physical places of the blocks are up to the allocator.
    const logical = (list: Iterable<{ offset: number; length: number; unwritten: boolean }>) =>
      joinExtents([...list].map(({ offset, length, unwritten }) => ({ offset, length, start: offset, unwritten })))
    const found = [...extents(inode, 'data')].map((rec) => ({
      offset: rec.startoff * perBlock,
      length: rec.blockcount * perBlock,
      unwritten: rec.extentflag === 1,
    }))
    // Below 4k the kernel preallocates a few blocks, with hints even more. They can end up inside
    // of the file, unwritten.
    const compared = perBlock < 8 || hints ? (extent: { unwritten: boolean }) => !extent.unwritten : () => true
    assert.deepEqual(logical(found.filter(compared)), logical((file.extents ?? []).filter(compared)), file.path)
    assert.equal(inode.nblocks >= found.reduce((sum, { length }) => sum + length / perBlock, 0), true)
  }
  volume.close()
}
