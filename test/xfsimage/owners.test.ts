import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { addParent, removeParent } from '../../src/attr/parent.ts'
import { type Device, memoryDevice, openFile } from '../../src/devices.ts'
import { AG_SECTORS } from '../../src/format/ag.ts'
import { openImage } from '../../src/image.ts'
import { describeFinding, escapeBytes, XfsError, XfsImage } from '../../src/index.ts'
import { openInode, updateInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import type { Volume } from '../../src/volume.ts'
import { xfskitOk, xfskitRecords } from '../support/cli.ts'
import { tempDir, withTempDir } from '../support/temp.ts'

/** Paths of inodes and owners of blocks, on sound and on damaged images. */

const encoder = new TextEncoder()

/** With and without parent pointers and rmapbt: the paths and owners are the same. */
const FEATURES = [
  {},
  { parent: false, rmapbt: false },
  { parent: false, rmapbt: false, reflink: false, finobt: false, inobtcount: false },
]

function made(features: Parameters<typeof mkfs>[1] & object = {}): Device {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, features)
  const image = XfsImage.open(device, { write: true })
  image.mkdir('/a/b/c', { recursive: true })
  image.writeFile('/a/b/c/deep', 'deep')
  image.writeFile('/a/first', 'x'.repeat(10_000))
  image.link('/a/first', '/a/second')
  image.symlink('deep', '/a/b/link')
  image.writeFile(Uint8Array.of(0x2f, 0xff), 'not UTF-8')
  for (let i = 0; i < 500; i++) image.writeFile(`/a/b/many ${i}`, '')
  image.unlink('/a/first')
  image.close()
  return device
}

for (const features of FEATURES) {
  test(`paths of inodes: ${JSON.stringify(features)}`, () => {
    const image = XfsImage.open(made({ features }))
    for (const path of ['/', '/a', '/a/b/c/deep', '/a/second', '/a/b/many 499', '/a/b/link']) {
      assert.equal(image.pathOf(image.lstat(path).ino), path)
      assert.equal(image.pathOf(image.file(path, { follow: false })), path)
    }
    const raw = Uint8Array.of(0x2f, 0xff)
    assert.deepEqual(image.pathOf(image.stat(raw).ino, { encoding: 'buffer' }), raw)
    const inos = Array.from({ length: 500 }, (_, i) => image.stat(`/a/b/many ${i}`).ino)
    const { rootino, rbmino } = image.geometry.sb
    const paths = image.pathsOf([...inos, rootino, rbmino, 0, -1, 2 ** 53, inos[0] as number])
    assert.equal(paths.size, 501)
    for (const [i, ino] of inos.entries()) assert.equal(paths.get(ino), `/a/b/many ${i}`)
    assert.equal(image.pathOf(rbmino), undefined)
  })

  test(`owners of blocks: ${JSON.stringify(features)}`, async () => {
    const device = made({ features })
    const image = XfsImage.open(device, { write: true })
    const { blocksize, agblocks, sectsize, inodesize } = image.geometry
    const { ino } = image.stat('/a/second')
    const [extent] = image.extents('/a/second')
    const physical = extent?.physical as number
    const [owner, ...others] = image.ownerOf(physical + blocksize + 1)
    assert.deepEqual(others, [])
    assert.equal(owner?.owner, ino)
    assert.equal(escapeBytes(owner?.path as Uint8Array), '/a/second')
    assert.equal(owner?.fork, 'data')
    const block = Math.floor(physical / blocksize)
    const place = { agno: Math.floor(block / agblocks), agbno: block % agblocks }
    assert.equal(image.ownerOf(place)[0]?.owner, ino)

    const structures = Object.entries(AG_SECTORS).map(([, sector]) => image.ownerOf(sector * sectsize)[0])
    assert.deepEqual(
      structures.map((found) => found?.structure),
      ['sb', 'agf', 'agi', 'agfl'],
    )
    assert.deepEqual([...new Set(structures.map((found) => found?.owner))], ['fs'])
    const root = image.geometry.sb.rootino
    const { agno, agbno } = placeOf(image, root)
    const at = (agno * agblocks + agbno) * blocksize + image.geometry.aginoIndex(root) * inodesize
    const [chunk] = image.ownerOf(at + 7)
    assert.deepEqual([chunk?.owner, chunk?.inode, chunk?.path], ['inodes', root, encoder.encode('/')])
    const { logstart } = image.geometry.sb
    const log = { agno: image.geometry.agnoOf(logstart), agbno: image.geometry.agbnoOf(logstart) }
    assert.equal(image.ownerOf(log)[0]?.owner, 'log')
    const free = [...image.owners()].find((record) => record.owner === 'free')
    assert.deepEqual(image.ownerOf(free as never), [free])
    assert.throws(() => image.ownerOf(image.geometry.sb.dblocks * blocksize), isRange)
    assert.throws(() => image.ownerOf({ agno: 0, agbno: agblocks }), isRange)
    assert.throws(() => image.ownerOf(-1), isRange)

    if (image.geometry.features.has('reflink')) {
      await image.reflink('/a/second', '/clone')
      const shared = image.ownerOf(physical).map(({ path }) => path && escapeBytes(path))
      assert.deepEqual(shared.sort(), ['/a/second', '/clone'])
      const shares = [...image.shares('/a/second', { paths: true })]
      assert.deepEqual(
        shares.map(({ path }) => path && escapeBytes(path)),
        ['/clone'],
      )
    }
    if (image.geometry.features.has('rmapbt')) {
      const named = [...image.owners({ paths: true })].filter(({ owner }) => typeof owner === 'number')
      assert.ok(named.length > 2)
      for (const { owner, path } of named) assert.equal(image.stat(path as Uint8Array).ino, owner)
    }
    const [bnobt] = image.ownerOf({ agno: 0, agbno: 1 })
    assert.equal(bnobt?.structure, 'bnobt')
    assert.deepEqual(image.check().findings.list, [])
  })
}

const isRange = (error: unknown) => error instanceof XfsError && error.code === 'RANGE'

function placeOf({ geometry }: XfsImage, ino: number) {
  return { agno: geometry.inoAgno(ino), agbno: geometry.aginoAgbno(geometry.inoAgino(ino)) }
}

/** Change an image as no command would. */
function damaged(device: Device, change: (volume: Volume) => void): XfsImage {
  const volume = openImage(device, { write: true })
  change(volume)
  volume.sync()
  return XfsImage.open(device)
}

test('a parent pointer that no entry confirms is not believed', () => {
  const device = made()
  const { ino } = XfsImage.open(device).stat('/a/b/c')
  const image = damaged(device, (volume) => {
    withTransaction(volume, (tx) => {
      const dir = openInode(volume, XfsImage.open(device).stat('/a/b').ino)
      removeParent(tx, openInode(volume, ino), dir, encoder.encode('c'))
      addParent(tx, openInode(volume, ino), dir, encoder.encode('elsewhere'))
    })
  })
  assert.equal(image.pathOf(ino), '/a/b/c')
  assert.equal(image.pathOf(image.stat('/a/b/c/deep').ino), '/a/b/c/deep')
})

test('parent pointers that form a loop end', () => {
  const device = made()
  const reader = XfsImage.open(device)
  const [a, b] = [reader.stat('/a').ino, reader.stat('/a/b').ino]
  const image = damaged(device, (volume) => {
    withTransaction(volume, (tx) => {
      removeParent(tx, openInode(volume, a), openInode(volume, reader.geometry.sb.rootino), encoder.encode('a'))
      addParent(tx, openInode(volume, a), openInode(volume, b), encoder.encode('many 0'))
    })
  })
  assert.equal(image.pathOf(b), '/a/b')
})

for (const features of FEATURES) {
  test(`an inode that cannot be read has the path of its entry: ${JSON.stringify(features)}`, () => {
    const device = made({ features })
    const reader = XfsImage.open(device)
    const inos = ['/a/b/many 300', '/a/b/many 400', '/a/b/c'].map((path) => reader.stat(path).ino)
    // Their block has no directory: an inode without its magic number makes all of it unreadable.
    for (const ino of inos.slice(0, 2)) {
      const { agno, agbno } = placeOf(reader, ino)
      const { agblocks, blocksize, inodesize, aginoIndex } = reader.geometry
      device.write(new Uint8Array(64), (agno * agblocks + agbno) * blocksize + aginoIndex(ino) * inodesize)
    }
    const paths = XfsImage.open(device).pathsOf(inos)
    assert.deepEqual(
      inos.map((ino) => paths.get(ino)),
      ['/a/b/many 300', '/a/b/many 400', '/a/b/c'],
    )
  })

  test(`a directory that cannot be read hides what is below it, and nothing else: ${JSON.stringify(features)}`, () => {
    const device = made({ features })
    const reader = XfsImage.open(device)
    const inos = ['/a/b/c', '/a/second'].map((path) => reader.stat(path).ino)
    // Only names of /a/b that the walk or the lookup needs are lost.
    for (const extent of reader.extents('/a/b')) device.write(new Uint8Array(extent.length), extent.physical)
    const paths = XfsImage.open(device).pathsOf(inos)
    assert.equal(paths.get(inos[0] as number), undefined)
    assert.equal(paths.get(inos[1] as number), '/a/second')
  })
}

test('fsmap --paths names the file of each extent', () =>
  withTempDir((dir) => {
    const file = join(dir, 'image')
    xfskitOk(['mkfs', '-q', file, '-d', 'size=64m'])
    using image = XfsImage.open(file, { write: true })
    image.mkdir('/a')
    image.writeFile('/a/one', 'x'.repeat(5000))
    image.close()
    const { ino } = XfsImage.open(file).stat('/a/one')
    const rows = xfskitRecords(['fsmap', file, '--paths'])
    const [named, ...more] = rows.filter((row) => row['ino'] === ino)
    assert.equal(named?.['path'], '/a/one')
    assert.equal(more.length, 0)
    assert.ok(rows.filter(({ owner }) => owner !== 'inode').every(({ path }) => path === undefined))
  }))

for (const features of FEATURES) {
  test(`findings have the paths of inodes: ${JSON.stringify(features)}`, () => {
    const device = made({ features })
    const reader = XfsImage.open(device)
    const [file, far, dir] = ['/a/second', '/a/b/many 400', '/a/b/c'].map((path) => reader.stat(path).ino)
    const image = damaged(device, (volume) =>
      withTransaction(volume, (tx) => {
        updateInode(tx, openInode(volume, file as number), { nlink: 7 })
        updateInode(tx, openInode(volume, dir as number), { nlink: 9 })
      }),
    )
    const texts = image.check().findings.list.map((finding) => describeFinding(finding))
    assert.deepEqual(
      texts.sort(),
      [`inode ${dir} (/a/b/c): nlink is 9, expected 2`, `inode ${file} (/a/second): nlink is 7, expected 1`].sort(),
    )
    const { agno, agbno } = placeOf(reader, far as number)
    const { agblocks, blocksize, inodesize, aginoIndex } = reader.geometry
    const at = (agno * agblocks + agbno) * blocksize + aginoIndex(far as number) * inodesize
    device.write(new Uint8Array(64), at)
    const unreadable = XfsImage.open(device)
      .check()
      .findings.list.filter(({ facts }) => facts['ino'] === far)
    assert.ok(unreadable.length > 0)
    for (const { path } of unreadable) assert.equal(escapeBytes(path as Uint8Array), '/a/b/many 400')
  })

  test(`findings of an image without a root directory have no paths: ${JSON.stringify(features)}`, () => {
    const device = made({ features })
    const { agblocks, blocksize } = XfsImage.open(device).geometry
    const { agno, agbno } = placeOf(XfsImage.open(device), XfsImage.open(device).geometry.sb.rootino)
    device.write(new Uint8Array(blocksize), (agno * agblocks + agbno) * blocksize)
    const { list } = XfsImage.open(device).check().findings
    assert.ok(list.length > 0)
    // Parent pointers alone are not believed either: no entry of the root confirms them.
    const paths = list.flatMap(({ path }) => (path ? [escapeBytes(path)] : []))
    assert.deepEqual(new Set([...paths, '/']), new Set(['/']))
  })
}

test('an error about a damaged inode or block has the path of the file', async () => {
  const file = join(tempDir(), 'image')
  xfskitOk(['mkfs', '-q', file, '-d', 'size=64m'])
  const image = XfsImage.open(file, { write: true })
  image.mkdir('/a/b', { recursive: true })
  for (let i = 0; i < 500; i++) image.writeFile(`/a/b/many ${i}`, '')
  const { ino } = image.stat('/a/b')
  const [extent] = image.extents('/a/b')
  image.close()
  const device = openFile(file, 'rw')
  device.write(new Uint8Array(64), extent?.physical as number)
  device.close()
  const isNamed = (error: unknown) =>
    error instanceof XfsError && error.where.path === '/a/b' && error.message.startsWith('/a/b: dir3 block ')
  await assert.rejects(
    XfsImage.view(file, {}, (opened) => opened.usage('/')),
    isNamed,
  )
  await assert.rejects(
    XfsImage.edit(file, {}, (opened) => opened.removeTree('/a')),
    isNamed,
  )
  const numbered = XfsImage.view(file, {}, () => {
    throw new XfsError('CORRUPT', `inode ${ino}: broken`, { ino })
  })
  await assert.rejects(numbered, new RegExp(`inode ${ino} \\(/a/b\\): broken$`))
  const closed = XfsImage.view(file, {}, (opened) => {
    opened.close()
    throw new XfsError('CORRUPT', `inode ${ino}: broken`, { ino })
  })
  await assert.rejects(closed, /: broken$/)
})
