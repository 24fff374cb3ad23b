import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { attributes, findAttr } from '../../src/attr/attr.ts'
import { parentPointers } from '../../src/attr/parent.ts'
import { openFile } from '../../src/device/file.ts'
import { entries, lookup, parentOf } from '../../src/dir/dir.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { readSymlink } from '../../src/symlink.ts'
import { Volume } from '../../src/volume.ts'
import { skip } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { kernelAttributes, kernelEntries, kernelLink, key, splitAttrName } from './names.ts'
import { makeImage, mounted, scratch, skipKernel, tools } from './support.ts'

/**
 * Directories of a mounted image with these numbers of entries. Some entries of the last are
 * removed, so that it has stale entries and holes.
 */
const SIZES = [0, 1, 5, 12, 60, 170, 700, 3000, 12000]

function fillDirectories(top: string): void {
  const script = `
for n in ${SIZES.join(' ')}; do
  mkdir d$n; (cd d$n; seq -f 'name %.0f of some length' 1 $n | tr '\\n' '\\0' | xargs -0 -r touch)
done
mkdir thin; (cd thin; seq -f 'entry-%.0f' 1 6000 | xargs touch; seq -f 'entry-%.0f' 1 4 6000 | xargs rm; seq -f 'entry-%.0f' 2000 4000 | xargs rm -f)
mkdir shrunk; (cd shrunk; seq -f 'entry-%.0f' 1 3000 | xargs touch; seq -f 'entry-%.0f' 4 3000 | xargs rm)
mkdir odd; touch $'odd/\\xff\\xfe' $'odd/a\\nb' "odd/$(printf 'x%.0s' {1..255})" odd/日本
mkdir -p links/a/b; ln -s a/b links/rel; ln -s /links/a links/abs; ln -s rel/../b links/dots; ln -s loop links/loop
ln -s "$(printf 'y%.0s' {1..50})" links/l50; ln -s "$(printf 'y%.0s' {1..500})" links/l500; ln -s "$(printf 'z%.0s' {1..1023})" links/l1023
touch links/a/b/file; for i in $(seq 1 300); do ln links/a/b/file links/a/b/hard$i; done
`
  execFileSync('bash', ['-euc', script], { cwd: top, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Files with attributes of every format. */
function fillAttributes(top: string): Map<string, Map<string, string>> {
  const made = new Map<string, Map<string, string>>()
  const rand = random(7)
  const lines: string[] = []
  const file = (name: string, attrs: readonly (readonly [string, Uint8Array])[]): void => {
    execFileSync('touch', [join(top, name)])
    made.set(name, new Map(attrs.map(([attr, value]) => [attr, Buffer.from(value).toString('hex')])))
    lines.push(
      `# file: ${name}`,
      ...attrs.map(([attr, value]) => `${attr}=0x${Buffer.from(value).toString('hex')}`),
      '',
    )
  }
  file('a-none', [])
  file('a-short', [
    ['user.one', rand.bytes(20)],
    ['trusted.two', rand.bytes(1)],
    ['security.three', rand.bytes(9)],
  ])
  file(
    'a-leaf',
    Array.from({ length: 20 }, (_, i) => [`user.name${i}`, rand.bytes(30 + i)] as const),
  )
  file(
    'a-node',
    Array.from(
      { length: 900 },
      (_, i) => [`${rand.pick(['user', 'trusted'])}.attribute-${i}`, rand.bytes(rand.int(90) + 1)] as const,
    ),
  )
  file(
    'a-deep',
    Array.from(
      { length: 8000 },
      (_, i) =>
        [
          `user.attribute number ${i} with a rather long name to fill its leaf, ${'x'.repeat(i % 100)}`,
          rand.bytes(rand.int(200) + 1),
        ] as const,
    ),
  )
  file(
    'a-remote',
    [1000, 3000, 4096, 20000, 65536].map((size) => [`user.size${size}`, rand.bytes(size)] as const),
  )
  execFileSync('setfattr', ['-h', '--restore=-'], {
    cwd: top,
    input: lines.join('\n'),
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  return made
}

const variants: { name: string; size: string; args: string[]; old?: true }[] = [
  { name: 'newest defaults', size: '400m', args: [] },
  { name: '1k blocks', size: '400m', args: ['-b', 'size=1k'] },
  { name: '1k blocks, 4k directory blocks', size: '400m', args: ['-b', 'size=1k', '-n', 'size=4k'] },
  { name: '64k directory blocks, no parent', size: '400m', args: ['-n', 'size=64k,parent=0'] },
  { name: '16k blocks, 2k inodes', size: '400m', args: ['-b', 'size=16k', '-i', 'size=2048'] },
  { name: '6.1 defaults', size: '400m', args: [], old: true },
]

for (const { name, size, args, old } of variants) {
  test(`read directories, links and attributes of the kernel: ${name}`, { skip: skipKernel }, (t) => {
    const image = join(scratch(t), 'a.img')
    makeImage(image, size, args, old ? tools.oldMkfs : tools.mkfs)
    const made = mounted(image, (top) => {
      fillDirectories(top)
      return fillAttributes(top)
    })
    mounted(
      image,
      (top) => {
        const volume = Volume.open(openFile(image, 'r'))
        for (const folder of [
          '.',
          ...SIZES.map((n) => `d${n}`),
          'thin',
          'shrunk',
          'odd',
          'links',
          'links/a',
          'links/a/b',
        ]) {
          compareDirectory(volume, folder, kernelEntries(join(top, folder)))
        }
        for (const link of ['rel', 'abs', 'dots', 'l50', 'l500', 'l1023']) {
          const path = `links/${link}`
          assert.deepEqual(
            Buffer.from(readSymlink(resolve(volume, path, { follow: false }))),
            kernelLink(join(top, path)),
          )
        }
        const b = resolve(volume, 'links/a/b').ino
        for (const path of [
          'links/rel',
          'links/abs/b',
          '/links/dots',
          'links/a/b/../b/.',
          'links/rel/',
          '../links/a/b',
        ]) {
          assert.equal(resolve(volume, path).ino, b, path)
        }
        assert.throws(() => resolve(volume, 'links/loop'), { code: 'LOOP' })
        assert.throws(() => resolve(volume, 'links/none'), { code: 'NOENT' })
        assert.throws(() => resolve(volume, 'a-none/x'), { code: 'NOTDIR' })
        const attrs = kernelAttributes(top)
        for (const [file, expected] of made) {
          compareAttributes(resolve(volume, file), expected)
          // The kernel lists at most 64 KiB of names.
          if (file !== 'a-deep') assert.deepEqual(attrs.get(file) ?? new Map(), expected)
        }
        volume.close()
      },
      'loop,ro',
    )
  })
}

function compareDirectory(volume: Volume, path: string, expected: ReadonlyMap<string, number>): void {
  const dir = resolve(volume, path)
  const found = new Map([...entries(dir)].map((entry) => [key(entry.name), entry.ino]))
  const known = [...expected].filter(([, ino]) => ino !== 0)
  assert.equal(found.size, expected.size, path)
  for (const [name, ino] of known) assert.equal(found.get(name), ino, `${path}/${name}`)
  let count = 0
  for (const name of expected.keys()) {
    if (count++ > 2000) break
    const entry = lookup(dir, Buffer.from(name, 'latin1'))
    assert.equal(entry?.ino, found.get(name), `lookup of ${path}/${name}`)
  }
  assert.equal(lookup(dir, Buffer.from('no such name')), undefined)
  const parent = resolve(volume, `${path}/..`)
  assert.equal(parentOf(dir), parent.ino)
  if (volume.features.has('parent')) {
    for (const entry of [...entries(dir)].slice(0, 50)) checkPointers(volume, dir, entry)
  }
}

function checkPointers(volume: Volume, dir: Inode, entry: { ino: number; name: Uint8Array }): void {
  const child = openInode(volume, entry.ino)
  const pointers = [...parentPointers(child)].filter(
    (pointer) => key(pointer.name) === key(entry.name) && pointer.ino === dir.ino,
  )
  assert.equal(pointers.length, 1)
  assert.equal(pointers[0]?.gen, dir.generation)
}

function compareAttributes(inode: Inode, expected: ReadonlyMap<string, string>): void {
  const found = [...attributes(inode)].filter((attr) => attr.space !== 8)
  assert.equal(found.length, expected.size)
  for (const [full, value] of expected) {
    const { space, name } = splitAttrName(full)
    const attr = findAttr(inode, { space, name })
    assert.equal(attr && Buffer.from(attr.read()).toString('hex'), value, full)
  }
  const bySpace = new Set(found.map((attr) => `${attr.space} ${key(attr.name)}`))
  for (const full of expected.keys()) {
    const { space, name } = splitAttrName(full)
    assert.ok(bySpace.has(`${space} ${key(name)}`), full)
  }
}

test('read directories and attributes of a V4 image', { skip: skipKernel || skip.distribution }, (t) => {
  const directory = scratch(t)
  const names = Array.from({ length: 3000 }, (_, i) => `name-${i}`)
  writeFileSync(join(directory, 'empty'), '')
  const list = (count: number): string =>
    names
      .slice(0, count)
      .map((name) => `${name} ---644 0 0 ${join(directory, 'empty')}`)
      .join('\n')
  const proto = `boot\n0 0\nd--755 3 4\nsmall d--755 0 0\n${list(3)}\n$\nblock d--755 0 0\n${list(60)}\n$\nlarge d--755 0 0\n${list(3000)}\n$\n$\n`
  writeFileSync(join(directory, 'proto'), proto)
  for (const options of [
    ['-n', 'ftype=1'],
    ['-n', 'ftype=0'],
    ['-b', 'size=1k'],
    ['-n', 'size=16k'],
  ]) {
    const image = join(directory, 'v4.img')
    makeImage(image, '320m', ['-m', 'crc=0', ...options, '-p', join(directory, 'proto')], tools.oldMkfs)
    const volume = Volume.open(openFile(image, 'r'))
    for (const [folder, count] of [
      ['small', 3],
      ['block', 60],
      ['large', 3000],
    ] as const) {
      const dir = resolve(volume, folder)
      assert.deepEqual(new Set([...entries(dir)].map((entry) => key(entry.name))), new Set(names.slice(0, count)))
      assert.equal(parentOf(dir), volume.geometry.sb.rootino)
      assert.ok(resolve(volume, `${folder}/name-1`).isRegular)
    }
    volume.close()
  }
})
