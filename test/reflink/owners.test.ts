import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openInode } from '../../src/inode/inode.ts'
import { mappedRuns, sharers } from '../../src/reflink/sharing.ts'
import { xfskitOk, xfskitRecords } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import { type Files, filesOf, newImage, openVolume } from './images.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']
const BLOCKS = 40
const CLONES = 80

/** The other owners of each block of a file, from the block maps of all files. */
function bySearch(files: Files, name: string): string[] {
  const places = new Map<number, string[]>()
  const pairs: string[] = []
  for (const of of NAMES) {
    const ino = files.ino(of)
    for (const run of mappedRuns(openInode(files.volume, ino))) {
      for (let i = 0; i < run.blockcount && !run.unwritten; i++) {
        const block = run.startblock + i
        places.set(block, [...(places.get(block) ?? []), `${ino}:${run.startoff + i}`])
      }
    }
  }
  const own = `${files.ino(name)}:`
  for (const all of places.values()) {
    for (const mine of all.filter((place) => place.startsWith(own))) {
      for (const other of all) if (other !== mine) pairs.push(`${mine.slice(own.length)} = ${other}`)
    }
  }
  return pairs.sort()
}

test('without reflink no blocks are shared', () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image', '300m', ['-m', 'reflink=0'])
    xfskitOk(['io', '-f', image, '/a', '-c', 'pwrite -q 0 4k'])
    assert.deepEqual(xfskitRecords(['shares', image, '/a']), [])
    assert.deepEqual(xfskitRecords(['shares', image, '--histogram']), [])
  })
})

for (const args of [[], ['-m', 'rmapbt=0'], ['-m', 'rmapbt=0', '-n', 'parent=0', '-b', 'size=1024']]) {
  test(`sharers, compared with the maps of all files: ${args.join(' ')}`, () => {
    withTempDir((folder) => {
      const image = newImage(folder, 'image', '300m', args)
      const volume = openVolume(image)
      const files = filesOf(volume)
      const { blocksize } = volume.geometry
      const rng = random(7)
      for (const name of NAMES) files.fill(name, 0, BLOCKS)
      for (let i = 0; i < CLONES; i++) {
        const length = 1 + rng.int(9)
        const [src, dst] = [rng.pick(NAMES), rng.pick(NAMES)]
        const [from, to] = [rng.int(BLOCKS - length), rng.int(BLOCKS - length)]
        if (src === dst && Math.abs(from - to) < length) continue
        files.clone(src, dst, { srcOffset: from * blocksize, dstOffset: to * blocksize, length: length * blocksize })
      }
      for (const name of NAMES) {
        const found = [...sharers(openInode(volume, files.ino(name)))].flatMap(
          ({ ino, offset, startoff, blockcount }) =>
            Array.from({ length: blockcount }, (_, i) => `${startoff + i} = ${ino}:${offset + i}`),
        )
        assert.deepEqual(found.sort(), bySearch(files, name))
        assert.ok(found.length > 0)
      }
      const paths = new Map(NAMES.map((name) => [files.ino(name), `/${name}`]))
      volume.close()
      judge(image)
      const rows = xfskitRecords<{ ino: number; path: string }>(['shares', image, '/a'])
      assert.ok(rows.length > 0)
      for (const { ino, path } of rows) assert.equal(path, paths.get(ino))
    })
  })
}
