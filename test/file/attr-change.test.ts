import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { attributes, findAttr, getAttr, removeAttr, setAttr } from '../../src/attr/attr.ts'
import { openFile } from '../../src/device/file.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { type Random, random } from '../support/random.ts'
import { collidingNames, kernelAttributes, key, randomName, splitAttrName } from './names.ts'
import { fill, makeImage, repairSays, scratch, withKernel } from './support.ts'
import type { Twin } from './twin.ts'

/** The attributes of a file compared with a map, through all formats and back. */

class Model {
  readonly volume: Volume
  readonly inode: Inode
  readonly map = new Map<string, Uint8Array>()
  names: string[] = []

  constructor(volume: Volume, path: string) {
    this.volume = volume
    this.inode = resolve(this.volume, path, { follow: false })
    for (const attr of attributes(this.inode)) {
      const text = `${attr.space} ${key(attr.name)}`
      this.map.set(text, attr.read())
      if (attr.space !== 8) this.names.push(text)
    }
  }

  set(space: number, name: Uint8Array, value: Uint8Array): void {
    const text = `${space} ${key(name)}`
    const exists = this.map.has(text)
    const wrong = exists ? 'create' : 'replace'
    if (this.map.size % 7 === 0) {
      assert.throws(
        () => withTransaction(this.volume, (tx) => setAttr(tx, this.inode, { space, name }, value, wrong)),
        { code: exists ? 'EXIST' : 'NODATA' },
      )
    }
    withTransaction(this.volume, (tx) => setAttr(tx, this.inode, { space, name }, value))
    if (!exists) this.names.push(text)
    this.map.set(text, value)
  }

  remove(index: number): void {
    const text = this.names[index] as string
    this.names[index] = this.names.at(-1) as string
    this.names.pop()
    withTransaction(this.volume, (tx) => removeAttr(tx, this.inode, split(text)))
    this.map.delete(text)
    assert.equal(findAttr(this.inode, split(text)), undefined)
  }

  compare(): void {
    let count = 0
    for (const attr of attributes(this.inode)) {
      count++
      assert.deepEqual(
        Buffer.from(attr.read()),
        Buffer.from(this.map.get(`${attr.space} ${key(attr.name)}`) as Uint8Array),
      )
    }
    assert.equal(count, this.map.size)
    for (const name of this.names.slice(0, 300)) assert.ok(getAttr(this.inode, split(name)))
  }
}

/** All attributes as we read them, and the verdict of the others. */
function judge(image: string, models: readonly Model[], text: string): void {
  for (const model of models) model.compare()
  models[0]?.volume.sync()
  assert.equal(repairSays(image), '', text)
}

const openImage = (image: string): Volume => Volume.open(openFile(image, 'rw'), { write: true })

const split = (text: string): { space: number; name: Uint8Array } => ({
  space: Number(text.slice(0, 1)),
  name: Buffer.from(text.slice(2), 'latin1'),
})

function prepare(image: string, args: readonly string[]): void {
  makeImage(image, '400m', args)
  fill(
    image,
    // Data forks of every kind: none, many extents, a bmbt, a shortform and a large directory,
    // links, a device.
    `
touch empty; ln -s "$(printf 'x%.0s' {1..280})" link; ln -s short short; mknod dev c 1 3; mkdir small; touch small/{a,b,c}
mkdir wide; (cd wide; touch "$(printf 'n%.0s' {1..100})" "$(printf 'm%.0s' {1..100})")
mkdir large; (cd large; seq 1 3000 | xargs touch)
bs=$(stat -f -c %s .); dd if=/dev/zero of=some bs=$bs count=20 status=none; dd if=/dev/zero of=frag bs=$bs count=2000 status=none
{ for i in $(seq 0 2 20); do echo "fpunch $((i * bs)) $bs"; done; } | $XFS_IO some
{ for i in $(seq 0 2 2000); do echo "fpunch $((i * bs)) $bs"; done; } | $XFS_IO frag
`,
    ours,
  )
}

function ours(twin: Twin, block: number): void {
  for (const name of ['empty', 'some', 'frag']) twin.create(name, 0o644)
  twin.symlink('x'.repeat(280), 'link')
  twin.symlink('short', 'short')
  twin.mknod('dev', FILE_TYPES.chr | 0o644, { major: 1, minor: 3 })
  for (const name of ['small', 'wide', 'large']) twin.mkdir(name, 0o755)
  const names = ['small/a', 'small/b', 'small/c', `wide/${'n'.repeat(100)}`, `wide/${'m'.repeat(100)}`]
  for (const name of [...names, ...Array.from({ length: 3000 }, (_, i) => `large/${i + 1}`)]) twin.create(name, 0o644)
  for (const [name, blocks] of [
    ['some', 20],
    ['frag', 2000],
  ] as const) {
    twin.write(name, 0, new Uint8Array(blocks * block))
    for (let i = 0; i <= blocks; i += 2) twin.allocate(name, 'punch', i * block, block)
  }
}

const FILES = ['empty', 'link', 'short', 'dev', 'small', 'wide', 'large', 'some', 'frag']

const sizeOf = (rand: Random, blocksize: number): number =>
  rand.chance(0.8)
    ? rand.int(100)
    : rand.chance(0.8)
      ? rand.int(blocksize)
      : rand.chance(0.9)
        ? rand.int(Math.min(65537, 3 * blocksize))
        : rand.int(65537)

const variants: { name: string; args: string[]; most: number }[] = [
  { name: 'newest defaults', args: [], most: 400 },
  { name: '1k blocks', args: ['-b', 'size=1k'], most: 300 },
  { name: 'no parent pointers, old counters', args: ['-n', 'parent=0', '-i', 'nrext64=0'], most: 200 },
  { name: '64k blocks', args: ['-b', 'size=64k'], most: 150 },
  { name: '16k blocks, 2k inodes', args: ['-b', 'size=16k', '-i', 'size=2048', '-n', 'parent=0'], most: 200 },
]

for (const { name, args, most } of variants) {
  test(`attributes against a map: ${name}`, (t) => {
    const image = join(scratch(t), 'a.img')
    prepare(image, args)
    const volume = openImage(image)
    const { blocksize } = volume.geometry
    const models = FILES.map((file) => new Model(volume, file))
    const rand = random(most)
    const add = (model: Model): void => {
      const old = model.names.length > 0 && rand.chance(0.3) ? split(rand.pick(model.names)) : undefined
      model.set(old?.space ?? rand.pick([0, 2, 4]), old?.name ?? randomName(rand), rand.bytes(sizeOf(rand, blocksize)))
    }
    for (const count of [1, 3, 10, 40, most]) {
      for (const model of models) {
        while (model.names.length < count) {
          if (rand.chance(0.25) && model.names.length > 0) model.remove(rand.int(model.names.length))
          else add(model)
        }
      }
      judge(image, models, `grown to ${count}`)
    }
    for (const count of [most >> 1, 30, 5, 1, 0]) {
      for (const model of models) {
        while (model.names.length > count) {
          if (rand.chance(0.1)) add(model)
          else model.remove(rand.int(model.names.length))
        }
      }
      judge(image, models, `shrunk to ${count}`)
    }
    for (const model of models) add(model)
    volume.close()
    withKernel(image, (top) => {
      execFileSync('bash', ['-euc', 'find . -type f -exec cat {} + | wc -c; ls -laR . | wc -l; readlink link'], {
        cwd: top,
        stdio: ['ignore', 'ignore', 'inherit'],
      })
    })
    assert.equal(repairSays(image), '')
  })
}

test('many attributes, and names of one hash', (t) => {
  const image = join(scratch(t), 'a.img')
  prepare(image, ['-b', 'size=1k'])
  const model = new Model(openImage(image), 'empty')
  const rand = random(5)
  const most = process.env['XFSKIT_LONG'] === '1' ? 100_000 : 6000
  for (const name of collidingNames('abcdefghijklmnopqrst', 9)) model.set(0, name, rand.bytes(rand.int(30)))
  while (model.names.length < most) model.set(0, randomName(rand, 60), rand.bytes(rand.int(60)))
  judge(image, [model], 'grown')
  while (model.names.length > 3) model.remove(rand.int(model.names.length))
  judge(image, [model], 'shrunk')
  model.volume.close()
})

test('the kernel reads and changes attributes of ours', (t) => {
  for (const count of [2, 20, 300]) {
    const image = join(scratch(t), `${count}.img`)
    prepare(image, [])
    const model = new Model(openImage(image), 'empty')
    const rand = random(count)
    const printableName = (): Uint8Array => randomName(rand, 100).map((byte) => 0x61 + (byte % 26))
    while (model.names.length < count)
      model.set(rand.pick([0, 2]), printableName(), rand.bytes(1 + rand.int(count === 2 ? 20 : 6000)))
    judge(image, [model], 'ours')
    const { ino } = model.inode
    model.volume.close()
    withKernel(image, (top) => {
      const found = kernelAttributes(top).get('empty') ?? new Map<string, string>()
      const ours = new Map(
        [...model.map]
          .filter(([text]) => !text.startsWith('8'))
          .map(([text, value]) => [text, Buffer.from(value).toString('hex')]),
      )
      const theirs = new Map(
        [...found].map(([full, value]) => [`${splitAttrName(full).space} ${key(splitAttrName(full).name)}`, value]),
      )
      assert.deepEqual(new Map([...theirs].sort()), new Map([...ours].sort()))
      const names = [...found.keys()]
      execFileSync(
        'bash',
        [
          '-euc',
          `for i in $(seq 1 ${count}); do setfattr -n user.kernel$i -v 0x$(head -c $((i * 20)) /dev/urandom | od -An -v -tx1 | tr -d ' \\n') empty; done; for n in "$@"; do setfattr -x "$n" empty; done`,
          'bash',
          ...names.slice(0, count >> 1),
        ],
        { cwd: top },
      )
    })
    assert.equal(repairSays(image), '')
    const volume = Volume.open(openFile(image, 'r'))
    withKernel(
      image,
      (top) => {
        const theirs = kernelAttributes(top).get('empty') ?? new Map<string, string>()
        const ours = [...attributes(openInode(volume, ino))].filter((attr) => attr.space !== 8)
        assert.equal(ours.length, theirs.size)
      },
      'loop,ro',
    )
    volume.close()
  }
})
