import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { entries, isEmpty, lookup, removeEntry, replaceEntry } from '../../src/dir/dir.ts'
import { XfsError } from '../../src/errors.ts'
import { type Inode, openInode, updateInode } from '../../src/inode/inode.ts'
import { allocateRange, unmapRange } from '../../src/mapping/bmap.ts'
import { extents } from '../../src/mapping/extents.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { type Transaction, withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { type Random, random } from '../support/random.ts'
import { addEntry } from './entries.ts'
import { collidingNames, kernelEntries, key, randomName } from './names.ts'
import { fill, makeImage, repairSays, scratch, skipKernel, withKernel } from './support.ts'

/**
 * A directory compared with a map, through all formats and back. All entries are links to a few
 * files, so that the image stays sound: the link count of a file is the number of its links in the
 * map. (Without parent pointers, which have tests of their own.)
 */
class Model {
  readonly volume: Volume
  readonly dir: Inode
  readonly files: Inode[]
  readonly map = new Map<string, number>()
  readonly names: string[] = []

  constructor(image: string, directory: string) {
    this.volume = Volume.open(openFile(image, 'rw'), { write: true })
    this.dir = resolve(this.volume, directory)
    this.files = ['f0', 'f1', 'f2'].map((name) => resolve(this.volume, name))
  }

  private count(ino: number, change: number): void {
    const file = this.files.find((one) => one.ino === ino) as Inode
    updateInode(this.#tx(), file, { nlink: file.nlink + change })
  }

  #current: Transaction | undefined
  #tx(): Transaction {
    assert.ok(this.#current)
    return this.#current
  }

  change(action: (tx: Transaction) => void): void {
    withTransaction(this.volume, (tx) => {
      this.#current = tx
      action(tx)
    })
    this.#current = undefined
  }

  add(name: Uint8Array, random: Random): void {
    const text = key(name)
    const { ino } = random.pick(this.files)
    if (this.map.has(text)) {
      assert.throws(() => this.change((tx) => addEntry(tx, this.dir, name, ino, 1)), { code: 'EXIST' })
      return
    }
    this.change((tx) => {
      addEntry(tx, this.dir, name, ino, 1)
      this.count(ino, 1)
    })
    this.map.set(text, ino)
    this.names.push(text)
  }

  remove(index: number, keepBlocks = false): void {
    const text = this.names[index] as string
    this.names[index] = this.names.at(-1) as string
    this.names.pop()
    const name = Buffer.from(text, 'latin1')
    this.change((tx) => {
      const gone = removeEntry(tx, this.dir, name, { keepBlocks })
      assert.equal(gone.ino, this.map.get(text))
      this.count(gone.ino, -1)
    })
    this.map.delete(text)
  }

  replace(index: number, random: Random): void {
    const text = this.names[index] as string
    const { ino } = random.pick(this.files)
    this.change((tx) => {
      const old = replaceEntry(tx, this.dir, Buffer.from(text, 'latin1'), ino, 1)
      assert.equal(old.ino, this.map.get(text))
      this.count(old.ino, -1)
      this.count(ino, 1)
    })
    this.map.set(text, ino)
  }

  compare(): void {
    const found = new Map([...entries(this.dir)].map((entry) => [key(entry.name), entry.ino]))
    assert.equal(found.size, this.map.size)
    for (const [name, ino] of this.map) assert.equal(found.get(name), ino)
    assert.equal(isEmpty(this.dir), this.map.size === 0)
    for (const name of this.names.slice(0, 500))
      assert.equal(lookup(this.dir, Buffer.from(name, 'latin1'))?.ino, this.map.get(name))
    assert.equal(lookup(this.dir, Buffer.from('not there')), undefined)
  }

  /** The directory as we read it, and the verdict of the others. */
  judge(image: string, text: string): void {
    this.compare()
    this.volume.sync()
    assert.equal(repairSays(image), '', text)
  }
}

function prepare(image: string, size: string, args: readonly string[]): void {
  makeImage(image, size, args)
  fill(image, 'mkdir d; touch f0 f1 f2', (twin) => {
    twin.mkdir('d', 0o755)
    for (const name of ['f0', 'f1', 'f2']) twin.create(name, 0o644)
  })
}

const execute = (cwd: string, script: string): void => {
  execFileSync('bash', ['-euc', script], { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
}

const long = process.env['XFSKIT_LONG'] === '1'

const variants: { name: string; args: string[]; entries: number }[] = [
  { name: 'newest defaults', args: ['-n', 'parent=0'], entries: 100_000 },
  { name: '1k blocks', args: ['-b', 'size=1k', '-n', 'parent=0'], entries: 6000 },
  { name: '1k blocks, 8k directory blocks', args: ['-b', 'size=1k', '-n', 'parent=0,size=8k'], entries: 4000 },
  { name: '64k directory blocks', args: ['-n', 'parent=0,size=64k'], entries: 6000 },
  {
    name: '16k blocks, no rmapbt, 2k inodes',
    args: ['-b', 'size=16k', '-m', 'rmapbt=0', '-i', 'size=2048', '-n', 'parent=0'],
    entries: 3000,
  },
]

for (const { name, args, entries: most } of variants) {
  test(`a directory against a map: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    prepare(image, '400m', args)
    const model = new Model(image, 'd')
    const rand = random(most)
    const count = long ? 100_000 : most
    const check = [3, 20, 60, 200, 700, 2500, 10_000, 50_000].filter((n) => n < count)
    // Grow, with removals and replacements in between.
    while (model.map.size < count) {
      const roll = rand.int(100)
      if (roll < 75 || model.names.length === 0) model.add(randomName(rand, 60), rand)
      else if (roll < 90) model.remove(rand.int(model.names.length))
      else model.replace(rand.int(model.names.length), rand)
      if (check.length > 0 && model.map.size >= (check[0] as number)) model.judge(image, `grown to ${check.shift()}`)
    }
    model.judge(image, 'grown')
    // Shrink in the same way.
    const checks = [count >> 1, 2000, 500, 100, 30, 10].filter((n) => n < count)
    while (model.map.size > 0) {
      if (rand.chance(0.15)) model.add(randomName(rand, 60), rand)
      else model.remove(rand.int(model.names.length))
      if (checks.length > 0 && model.map.size <= (checks[0] as number))
        model.judge(image, `shrunk to ${checks.shift()}`)
    }
    model.judge(image, 'shrunk')
    assert.ok(model.dir.size < 20, 'the directory is inside its inode again')
    model.volume.close()
  })
}

test('names that all have one hash', (t) => {
  const image = join(scratch(t), 'a.img')
  prepare(image, '400m', ['-b', 'size=1k', '-n', 'parent=0'])
  const model = new Model(image, 'd')
  const rand = random(11)
  const names = collidingNames('abcdefghijklmnopqrstuvwxyz', 11)
  assert.ok(names.length >= 2048)
  for (const name of names) {
    model.add(name, rand)
    if (rand.chance(0.5)) model.add(randomName(rand, 20), rand)
  }
  model.judge(image, 'full of one hash')
  while (model.map.size > 40) model.remove(rand.int(model.names.length))
  model.judge(image, 'few of one hash')
  model.volume.close()
  withKernel(
    image,
    (top) => {
      const seen = kernelEntries(join(top, 'd'))
      assert.deepEqual(new Map([...seen].sort()), new Map([...model.map].sort()))
    },
    'loop,ro',
  )
})

test('removal that frees no blocks, and removal after it', (t) => {
  const image = join(scratch(t), 'a.img')
  prepare(image, '400m', ['-n', 'parent=0'])
  const model = new Model(image, 'd')
  const rand = random(21)
  for (const [most, least] of [
    [60, 0],
    [400, 5],
    [5000, 0],
    [3000, 700],
    [900, 0],
  ] as const) {
    while (model.map.size < most) model.add(randomName(rand, 60), rand)
    while (model.map.size > least) model.remove(rand.int(model.names.length), true)
    model.compare() // the kernel also leaves empty blocks; xfs_repair removes them
    for (let i = 0; i < 300; i++) {
      if (model.names.length === 0 || rand.chance(0.6)) model.add(randomName(rand, 60), rand)
      else model.remove(rand.int(model.names.length), rand.chance(0.5))
    }
    model.compare()
  }
  model.volume.close()
  withKernel(image, (top) => {
    assert.deepEqual(new Map([...kernelEntries(join(top, 'd'))].sort()), new Map([...model.map].sort()))
    execute(top, 'cd d; touch from-kernel; rm -f from-kernel')
  })
  const again = new Model(image, 'd')
  for (const { name, ino } of entries(again.dir)) {
    again.map.set(key(name), ino)
    again.names.push(key(name))
  }
  while (again.names.length > 0) again.remove(rand.int(again.names.length))
  again.judge(image, 'emptied')
  assert.ok(again.dir.size < 20)
  again.volume.close()
})

test('directory blocks in pieces', (t) => {
  const image = join(scratch(t), 'a.img')
  prepare(image, '301m', ['-n', 'parent=0,size=16k', '-m', 'rmapbt=0'])
  const model = new Model(image, 'd')
  const { volume } = model
  scatter(volume, resolve(volume, 'f0').ino)
  const rand = random(3)
  while (model.map.size < 3000) {
    if (rand.chance(0.8)) model.add(randomName(rand, 60), rand)
    else if (model.names.length > 0) model.remove(rand.int(model.names.length))
  }
  const pieces = [...extents(model.dir, 'data')].filter((rec) => rec.blockcount < 4)
  assert.ok(pieces.length > 20, `${pieces.length} extents shorter than a directory block`)
  model.judge(image, 'grown in pieces')
  volume.close()
  withKernel(image, (top) => {
    assert.deepEqual(new Map([...kernelEntries(join(top, 'd'))].sort()), new Map([...model.map].sort()))
    // The kernel continues, and creates such blocks itself.
    execute(
      top,
      `perl -e 'mkdir "e"; link("f1", "e/kernel $_") or die for 1 .. 2000; opendir(D, "d"); @n = grep { !/^\\.\\.?$/ } readdir D; unlink "d/$_" or die for @n[100 .. 1500]'`,
    )
  })
  assert.equal(repairSays(image), '')
  const again = new Model(image, 'd')
  for (const { name, ino } of entries(again.dir)) {
    again.map.set(key(name), ino)
    again.names.push(key(name))
  }
  if (!skipKernel) {
    const theirs = resolve(again.volume, 'e')
    assert.equal([...entries(theirs)].length, 2000)
    for (let i = 1; i <= 2000; i += 3) assert.ok(lookup(theirs, Buffer.from(`kernel ${i}`)))
  }
  while (again.names.length > 0) again.remove(rand.int(again.names.length))
  again.judge(image, 'shrunk in pieces')
  again.volume.close()
})

/**
 * Leave no two adjacent free blocks: a file takes all space, frees every other block, and takes the
 * longer free extents that are left.
 */
function scatter(volume: Volume, ino: number): void {
  let blocks = 0
  const take = (first: number, least: number): void => {
    for (let step = first; step >= least; ) {
      try {
        withTransaction(volume, (tx) =>
          allocateRange(tx, openInode(volume, ino, tx), 'data', blocks, step, { contiguous: true }),
        )
        blocks += step
      } catch (error) {
        if (!(error instanceof XfsError) || error.code !== 'NOSPC') throw error
        step >>= 1
      }
    }
  }
  take(2 ** 14, 1)
  const end = blocks
  for (let at = 0; at < end - 400; at += 400) {
    withTransaction(volume, (tx) => {
      const inode = openInode(volume, ino, tx)
      for (let i = 0; i < 400; i += 2) unmapRange(tx, inode, 'data', at + i, 1)
    })
  }
  take(2 ** 10, 2)
  withTransaction(volume, (tx) =>
    updateInode(tx, openInode(volume, ino, tx), { size: blocks * volume.geometry.blocksize }),
  )
}

test('the kernel reads and changes a directory of ours', (t) => {
  for (const count of [10, 100, 400, 5000]) {
    const image = join(scratch(t), `${count}.img`)
    prepare(image, '400m', ['-n', 'parent=0'])
    const model = new Model(image, 'd')
    const rand = random(count)
    while (model.map.size < count) model.add(randomName(rand, 40), rand)
    for (let i = 0; i < count / 4; i++) model.remove(rand.int(model.names.length))
    model.judge(image, 'ours')
    model.volume.close()
    withKernel(image, (top) => {
      assert.deepEqual(new Map([...kernelEntries(join(top, 'd'))].sort()), new Map([...model.map].sort()))
      execute(
        top,
        `cd d; seq -f 'kernel %.0f' 1 ${count} | tr '\\n' '\\0' | xargs -0 touch; ls -f | head -${count >> 1} | while read -r n; do rm -f -- "$n" 2>/dev/null || :; done`,
      )
    })
    assert.equal(repairSays(image), '')
    const volume = Volume.open(openFile(image, 'r'))
    withKernel(
      image,
      (top) => {
        const ours = new Map(
          [...entries(openInode(volume, model.dir.ino))].map((entry) => [key(entry.name), entry.ino]),
        )
        assert.deepEqual(new Map([...ours].sort()), new Map([...kernelEntries(join(top, 'd'))].sort()))
      },
      'loop,ro',
    )
    volume.close()
  }
})
