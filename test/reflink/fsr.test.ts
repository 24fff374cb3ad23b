import assert from 'node:assert/strict'
import { test } from 'node:test'
import { falloc, fpunch } from '../../src/data/fallocate.ts'
import { DIFLAGS } from '../../src/format/dinode.ts'
import { openInode, updateInode } from '../../src/inode/inode.ts'
import { createFile } from '../../src/namespace/namespace.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { type FsrOptions, fsr } from '../../src/reflink/fsr.ts'
import { mappedRuns, sharers } from '../../src/reflink/sharing.ts'
import { freeForUsers } from '../../src/space/reserve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { finish } from '../../src/util/progress.ts'
import { xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { random } from '../support/random.ts'
import { withTempDir } from '../support/temp.ts'
import type { FileSystem } from './filesystem.ts'
import { type Files, filesOf, newImage, openVolume } from './images.ts'
import { ourFileSystem } from './ourfs.ts'
import { refcountsAlongFiles } from './refcounts.ts'

/** Two files written alternately, so that both are fragmented. */
function interleave(files: Files, names: readonly string[], blocks: number): void {
  for (let i = 0; i < blocks; i++) for (const [n, name] of names.entries()) files.fill(name, i, 1, 40 * n)
}

const shared = (files: Files, path: string): number => {
  let blocks = 0
  for (const run of mappedRuns(openInode(files.volume, files.ino(path)))) if (run.shared) blocks += run.blockcount
  return blocks
}

/** Every file reads the same after each step. */
function runWatched(files: Files, path: string, options: FsrOptions, watched: readonly string[]) {
  const before = watched.map((name) => files.read(name))
  const steps = fsr(files.volume, files.ino(path), options)
  for (;;) {
    const step = steps.next()
    for (const [i, name] of watched.entries())
      assert.ok(files.read(name).equals(before[i] as Buffer), `${name} has changed`)
    if (step.done) return step.value
  }
}

function withImage(use: (files: Files) => void, args: readonly string[] = []): void {
  withTempDir((folder) => {
    const image = newImage(folder, 'image', '300m', args)
    const volume = openVolume(image)
    use(filesOf(volume))
    volume.close()
    judge(image, { kernel: true })
  })
}

interface FsrRow {
  readonly before: number
  readonly after: number
  readonly path: string
  readonly skipped?: string
}

for (const { name, args } of [
  { name: 'default', args: [] },
  { name: '1k blocks, without reflink', args: ['-b', 'size=1024', '-m', 'reflink=0'] },
]) {
  test(`fsr makes one extent of many: ${name}`, () => {
    withImage((files) => {
      interleave(files, ['a', 'b'], 300)
      assert.ok(files.extents('a') >= 300)
      const { before, after, moved, skipped } = runWatched(files, 'a', {}, ['a', 'b'])
      assert.deepEqual([after, moved, skipped], [1, 300, undefined])
      assert.ok(before >= 300)
      assert.deepEqual(finish(fsr(files.volume, files.ino('a'))), { before: 1, after: 1, moved: 0 })
    }, args)
  })
}

test('fsr keeps holes and unwritten blocks', () => {
  withImage((files) => {
    interleave(files, ['a', 'b'], 60)
    const { blocksize } = files.volume.geometry
    const ino = files.ino('a')
    fpunch(files.volume, ino, 10 * blocksize, 5 * blocksize)
    fpunch(files.volume, ino, 30 * blocksize, 6 * blocksize)
    falloc(files.volume, ino, 30 * blocksize, 2 * blocksize)
    falloc(files.volume, ino, 34 * blocksize, 2 * blocksize)
    falloc(files.volume, ino, 60 * blocksize, 8 * blocksize, { keepSize: true })
    const { after } = runWatched(files, 'a', {}, ['a', 'b'])
    const runs = [...mappedRuns(openInode(files.volume, ino))].map(
      (run) => `${run.startoff}+${run.blockcount}${run.unwritten ? 'U' : ''}`,
    )
    assert.deepEqual(runs, ['0+10', '15+15', '30+2U', '34+2U', '36+24', '60+8U'])
    assert.equal(after, 6)
  })
})

test('fsr skips files with shared blocks by default', () => {
  withImage((files) => {
    interleave(files, ['a', 'b'], 40)
    files.clone('a', 'c')
    assert.equal(finish(fsr(files.volume, files.ino('a'))).skipped, 'shares blocks')
    assert.equal(shared(files, 'a'), 40)
    const { after, moved } = runWatched(files, 'a', { shared: 'unshare' }, ['a', 'b', 'c'])
    assert.deepEqual([after, moved], [1, 40])
    assert.equal(shared(files, 'a'), 0)
    assert.equal(openInode(files.volume, files.ino('a')).reflink, false)
    assert.equal(openInode(files.volume, files.ino('c')).reflink, true)
  })
})

for (const args of [[], ['-m', 'rmapbt=0']]) {
  test(`fsr moves sharers together ${args.join(' ')}`, () => {
    withImage((files) => {
      interleave(files, ['a', 'b'], 50)
      const { blocksize } = files.volume.geometry
      files.clone('a', 'c')
      files.clone('a', 'd', { srcOffset: 10 * blocksize, dstOffset: 3 * blocksize, length: 20 * blocksize })
      files.clone('a', 'a', { srcOffset: 5 * blocksize, dstOffset: 60 * blocksize, length: 6 * blocksize })
      files.fill('c', 7, 4, 200)
      const free = freeForUsers(files.volume)
      const pairs = (): string[] =>
        [...sharers(openInode(files.volume, files.ino('a')))]
          .flatMap(({ ino, offset, startoff, blockcount }) =>
            Array.from({ length: blockcount }, (_, i) => `${startoff + i} = ${ino}:${offset + i}`),
          )
          .sort()
      const before = pairs()
      const counts = { c: shared(files, 'c'), d: shared(files, 'd') }
      const { after } = runWatched(files, 'a', { shared: 'keep' }, ['a', 'b', 'c', 'd'])
      assert.deepEqual(pairs(), before)
      assert.deepEqual({ c: shared(files, 'c'), d: shared(files, 'd') }, counts)
      assert.deepEqual([after, files.extents('d')], [2, 1])
      assert.equal(files.extents('c'), 3)
      assert.ok(freeForUsers(files.volume) >= free, 'no space is lost')
    }, args)
  })
}

test('fsr stops if nothing is gained, or no free extent is long enough', () => {
  withImage((files) => {
    const { volume } = files
    const { blocksize } = volume.geometry
    interleave(files, ['a', 'b'], 200)
    createFile(volume, 'full', 0o644)
    falloc(volume, files.ino('full'), 0, (freeForUsers(volume) - 64) * blocksize)
    const result = runWatched(files, 'a', {}, ['a', 'b'])
    assert.ok(result.after <= result.before)
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, files.ino('b'), tx)
      updateInode(tx, inode, { flags: inode.flags | DIFLAGS.nodefrag })
    })
    assert.equal(finish(fsr(volume, files.ino('b'))).skipped, 'no-defrag')
    assert.throws(() => finish(fsr(volume, volume.geometry.sb.rootino)), { code: 'ISDIR' })
  })
})

test('xfskit fsr prints extents before and after', () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image')
    const volume = openVolume(image)
    const files = filesOf(volume)
    interleave(files, ['a', 'b'], 20)
    files.clone('b', 'c')
    volume.close()
    assert.match(xfskitOk(['fsr', '--dry-run', image]), /^ +\d+ +\d+ +0 +\/b +left: shares blocks$/m)
    const { done, failed } = JSON.parse(xfskitOk(['fsr', '--json', image])) as { done: FsrRow[]; failed: unknown[] }
    assert.deepEqual(failed, [])
    assert.deepEqual(
      done.map(({ after, path, skipped }) => ({ after, path, skipped })),
      [
        { after: 1, path: '/a', skipped: undefined },
        { after: done[1]?.before, path: '/b', skipped: 'shares blocks' },
        { after: done[2]?.before, path: '/c', skipped: 'shares blocks' },
      ],
    )
    assert.match(
      xfskitOk(['fsr', image, '/b', '--keep-shared']),
      /^before +after +moved +path +note\n +\d+ +1 +20 +\/b/,
    )
    assert.match(xfskitOk(['fiemap', image, '/c']), /shared\n$/)
    judge(image)
  })
})

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']

/** A filesystem with random sharing, holes and unwritten blocks. */
function scramble(fs: FileSystem, block: number, seed: number): void {
  const r = random(seed)
  for (const name of NAMES) fs.truncate(name, 0)
  for (let i = 0; i < 150; i++) {
    const [file, other] = [r.pick(NAMES), r.pick(NAMES)]
    const [at, to, length] = [r.int(60) * block, r.int(60) * block, (1 + r.int(12)) * block]
    const kind = r.int(7)
    if (kind < 2) fs.pwrite(file, at, kind === 0 ? length : block, r.int(9))
    else if (kind < 5) fs.clone(file, other, at, to, length)
    else if (kind === 5) fs.punch(file, at, length)
    else fs.falloc(file, at, length)
  }
}

for (const args of [[], ['-b', 'size=1024'], ['-m', 'rmapbt=0'], ['-b', 'size=1024', '-m', 'rmapbt=0']]) {
  test(`fsr of random sharing: who shares what stays, and what files hold ${args.join(' ')}`, () => {
    withTempDir((folder) => {
      const image = newImage(folder, 'image', '300m', args)
      let volume = openVolume(image)
      let fs = ourFileSystem(volume, '')
      scramble(fs, volume.geometry.blocksize, 7)
      const contents = (): Buffer[] => NAMES.map((name) => fs.content(name))
      const maps = (): string[] => NAMES.map((name) => fs.map(name))
      const before = { contents: contents(), maps: maps() }
      volume.close()
      const counts = refcountsAlongFiles(image)
      volume = openVolume(image)
      fs = ourFileSystem(volume, '')
      const run = (name: string, options: FsrOptions) => finish(fsr(volume, resolve(volume, name).ino, options))
      const kept = NAMES.map((name) => run(name, { shared: 'keep' }))
      assert.ok(kept.some(({ before: extents, after }) => after < extents))
      assert.deepEqual({ contents: contents(), maps: maps() }, before)
      volume.close()
      assert.deepEqual(refcountsAlongFiles(image), counts)
      judge(image)
      volume = openVolume(image)
      fs = ourFileSystem(volume, '')
      for (const name of ['a', 'c', 'd']) {
        run(name, { shared: 'unshare' })
        assert.doesNotMatch(fs.map(name), /S/)
        assert.equal(resolve(volume, name).reflink, false)
      }
      assert.deepEqual(contents(), before.contents)
      volume.close()
      judge(image)
    })
  })
}
