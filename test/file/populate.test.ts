import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parentPointers } from '../../src/attr/parent.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { DIFLAGS, FILE_TYPES } from '../../src/format/dinode.ts'
import { fixedClock } from '../../src/format/time.ts'
import { extentCount, forkFormat, hasAttrFork, openInode, updateInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, link, mkdir, mknod, symlink } from '../../src/namespace/namespace.ts'
import type { NewChild, NewLink } from '../../src/namespace/newinodes.ts'
import { populate } from '../../src/namespace/populate.ts'
import { resolve, rootDirectory } from '../../src/namespace/resolve.ts'
import { readSymlink } from '../../src/symlink.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'

/** Many new files of one transaction, compared with the same files made by commands. */

const open = (device: Device): Volume => Volume.open(device, { write: true, now: fixedClock(1_700_000_000, 0) })

function sound(device: Device): void {
  const volume = Volume.open(device)
  assert.deepEqual(check(device, volume.geometry).findings.list.map(describe), [])
}

function image(parent: boolean): Device {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, { blocksize: 4096, features: { parent }, autofsck: 'none' })
  return device
}

/** Every type, with names that fit into the inode or do not, and targets of all lengths. */
function children(): NewChild[] {
  const types = [
    { mode: FILE_TYPES.reg | 0o640 },
    { mode: FILE_TYPES.dir | 0o2751 },
    { mode: FILE_TYPES.fifo | 0o600 },
    { mode: FILE_TYPES.chr | 0o660, device: { major: 240, minor: 7 } },
    ...[1, 50, 57, 190, 200, 300, 340, 1023].map((length) => ({
      mode: FILE_TYPES.lnk | 0o777,
      target: Buffer.alloc(length, 't'),
    })),
  ]
  return types.flatMap((type, i) =>
    [1, 100, 250].map((length) => ({ ...type, name: Buffer.from(`${i}`.padEnd(length, 'n')), uid: 7, gid: 8 })),
  )
}

function makeOne(volume: Volume, path: Buffer, { mode, uid = 0, gid = 0, target, device }: NewChild): void {
  const options = { uid, gid, ...(device && { device }) }
  if (target) symlink(volume, target, path, options)
  else if ((mode & FILE_TYPES.dir) === FILE_TYPES.dir && mode < FILE_TYPES.blk) mkdir(volume, path, mode, options)
  else if (mode >= FILE_TYPES.reg) createFile(volume, path, mode, options)
  else mknod(volume, path, mode, options)
}

const pathOf = (name: Uint8Array): Buffer => Buffer.concat([Buffer.from('/d/'), name])

/** All fields of an inode, except its number and place. */
function facts(volume: Volume, name: Uint8Array): unknown {
  const inode = resolve(volume, pathOf(name), { follow: false })
  const { mode, uid, gid, nlink, roundedSize, flags, flags2, projid, forkoff, nblocks, atime, mtime, ctime, crtime } =
    inode
  return {
    mode, uid, gid, nlink, roundedSize, flags, flags2, projid, forkoff, nblocks, atime, mtime, ctime, crtime,
    formats: [forkFormat(inode, 'data'), hasAttrFork(inode) ? forkFormat(inode, 'attr') : undefined],
    extents: [extentCount(inode, 'data'), extentCount(inode, 'attr')],
    target: inode.isSymlink ? readSymlink(inode) : undefined,
    parents: [...parentPointers(inode)].map((pointer) => Buffer.from(pointer.name).toString()),
  } // biome-ignore format: a list
}

for (const parent of [true, false]) {
  test(`files come out the same, made one by one and together: ${parent ? 'with' : 'without'} parent pointers`, () => {
    const [single, many] = [image(parent), image(parent)]
    const list = children()
    const one = open(single)
    mkdir(one, '/d', 0o755)
    for (const child of list) makeOne(one, pathOf(child.name), child)
    link(one, resolve(one, pathOf(list[0]?.name as Uint8Array)).ino, '/d/link')
    const all = open(many)
    mkdir(all, '/d', 0o755)
    const made = children()
    const again: NewLink = { name: Buffer.from('link'), link: made[0] as NewChild }
    withTransaction(all, (tx) => populate(tx, [{ dir: resolve(all, '/d'), children: [...made, again] }]))
    for (const { name } of list) assert.deepEqual(facts(all, name), facts(one, name), Buffer.from(name).toString())
    assert.equal(resolve(one, '/d').nlink, resolve(all, '/d').nlink)
    for (const volume of [one, all]) volume.close()
    for (const device of [single, many]) sound(device)
  })
}

test('a directory refuses the same of one file and of many', () => {
  const device = image(true)
  const volume = open(device)
  mkdir(volume, '/d', 0o755)
  const fixed = createFile(volume, '/fixed', 0o644)
  const other = createFile(volume, '/other', 0o644)
  const flag = (path: string, flags: number, projid = 0): void =>
    withTransaction(volume, (tx) =>
      updateInode(tx, resolve(volume, path, { follow: true, reader: tx }), { flags, projid }),
    )
  const put = (...names: (NewChild | NewLink)[]): void =>
    withTransaction(volume, (tx) => populate(tx, [{ dir: resolve(volume, '/d'), children: names, copies: true }]))
  const name = Buffer.from('x')
  const file: NewChild = { name, mode: FILE_TYPES.reg | 0o644 }
  const symbolic: NewChild = { name, mode: FILE_TYPES.lnk | 0o777, target: Buffer.from('t') }
  flag('/d', DIFLAGS.immutable)
  assert.throws(() => put(file), { code: 'PERM' })
  flag('/d', DIFLAGS.nosymlinks)
  assert.throws(() => put(symbolic), { code: 'PERM' })
  assert.throws(() => symlink(volume, 't', '/d/x'), { code: 'PERM' })
  flag('/d', DIFLAGS.projinherit, 42)
  assert.throws(() => put({ name, link: other }), { code: 'XDEV' })
  flag('/d', 0)
  flag('/fixed', DIFLAGS.immutable)
  assert.throws(() => put({ name, link: fixed }), { code: 'PERM' })
  assert.throws(() => put({ name, link: rootDirectory(volume) }), { code: 'PERM' })
  assert.throws(() => put({ name, link: { ino: other.ino, generation: other.generation + 1 } }), { code: 'NOENT' })
  withTransaction(volume, (tx) => updateInode(tx, openInode(volume, other.ino, tx), { nlink: 2 ** 31 - 1 }))
  assert.throws(() => put({ name, link: other }), { code: 'RANGE' })
  withTransaction(volume, (tx) => updateInode(tx, openInode(volume, other.ino, tx), { nlink: 1 }))
  put(file)
  volume.close()
  sound(device)
})
