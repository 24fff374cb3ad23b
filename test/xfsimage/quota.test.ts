import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { removeParent } from '../../src/attr/parent.ts'
import { type Device, deviceAfter, memoryDevice, openFile, record } from '../../src/devices.ts'
import { removeEntry } from '../../src/dir/dir.ts'
import { DiskDquot, Dqblk } from '../../src/format/dquot.ts'
import { Superblock } from '../../src/format/sb.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { openImage } from '../../src/image.ts'
import { XfsImage } from '../../src/index.ts'
import { openInode, updateInode } from '../../src/inode/inode.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { recover } from '../../src/recovery/recover.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { Volume } from '../../src/volume.ts'
import { xfskitOk } from '../support/cli.ts'
import { judge } from '../support/judge.ts'
import { newest, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * An image with quota: the first change clears the flags by which its counters are right, so that
 * the kernel counts again. xfs_repair compares the counters if the flags are set.
 */

const ON = 0x0001 | 0x0002 | 0x0040 | 0x0080
const CHECKED = 0x0004 | 0x0100

const encoder = new TextEncoder()
const KINDS = [
  { name: 'uquota', type: 0x01, field: 'uquotino' },
  { name: 'gquota', type: 0x04, field: 'gquotino' },
] as const

/** User and group quota in the superblock, with records that are right. */
function addQuota(device: Device): void {
  const made = XfsImage.open({ ...device, close() {} }, { write: true })
  for (const { name } of KINDS) made.writeFile(`/${name}`, new Uint8Array(made.geometry.blocksize))
  const inos = KINDS.map(({ name }) => made.stat(`/${name}`).ino)
  made.close()
  const volume = openImage(device, { write: true })
  withTransaction(volume, (tx) => {
    for (const [i, { name }] of KINDS.entries()) {
      const root = rootDirectory(volume, tx)
      removeEntry(tx, root, encoder.encode(name))
      const inode = openInode(volume, inos[i] as number, tx)
      removeParent(tx, inode, root, encoder.encode(name))
      updateInode(tx, inode, { size: 0 })
    }
  })
  withTransaction(volume, (tx) => {
    const view = tx.edit(volume.superblock(tx))
    for (const [i, { field }] of KINDS.entries()) Superblock.fields[field].set(view, 0, inos[i] as number)
    const { versionnum, qflags } = Superblock.fields
    versionnum.set(view, 0, versionnum.get(view, 0) | 0x40)
    qflags.set(view, 0, ON | CHECKED)
  })
  volume.sync()
  const { geometry } = Volume.open(device)
  const image = XfsImage.open(device)
  // All files are root's. The files of quota itself do not count.
  const counts = { blocks: 0, inodes: 0 }
  const { rootino, rbmino, rsumino } = geometry.sb
  const files = [...image.walk('/')].map(({ ino }) => ino).filter((ino) => ino !== rootino)
  for (const ino of [rootino, rbmino, rsumino, ...files]) {
    counts.blocks += openInode(Volume.open(device), ino).nblocks
    counts.inodes++
  }
  for (const [i, { type }] of KINDS.entries()) {
    const bytes = new Uint8Array(geometry.blocksize)
    const view = new DataView(bytes.buffer)
    for (let id = 0; (id + 1) * Dqblk.size <= bytes.length; id++) {
      const used = id === 0 ? { bcount: counts.blocks, icount: counts.inodes } : {}
      DiskDquot.encode(view, id * Dqblk.size, { magic: 0x4451, version: 1, type, id, ...used })
      Dqblk.fields.uuid.set(view, id * Dqblk.size, geometry.metaUuid)
    }
    stamp(blockTypes.dquot, view, { geometry, daddr: 0 })
    const [extent] = [...image.owners()].filter(({ owner }) => owner === inos[i])
    assert.ok(extent)
    device.write(bytes, (extent.agno * geometry.agblocks + extent.agbno) * geometry.blocksize)
  }
}

const qflags = (device: Device): number => Volume.open(device).geometry.sb.qflags

function withQuota(): Device {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.mkdir('/d')
  image.writeFile('/d/f', 'x'.repeat(100_000))
  image.close()
  addQuota(device)
  assert.deepEqual(XfsImage.open(device).check().findings.list, [])
  return device
}

test('opening and reading leave the flags of quota', () => {
  const recorder = record(withQuota())
  const image = XfsImage.open(recorder, { write: true })
  assert.equal(image.readFile('/d/f', 'utf8').length, 100_000)
  assert.throws(() => image.rmdir('/d'))
  image.close()
  assert.equal(recorder.events.length, 0)
  assert.equal(qflags(recorder), ON | CHECKED)
})

test('the first change clears the flags that quota was counted, and no others', async () => {
  const changes: ((image: XfsImage) => unknown)[] = [
    (image) => image.writeFile('/new', 'new'),
    (image) => image.unlink('/d/f'),
    (image) => image.chown('/d/f', 7, 7),
    (image) => image.reflink('/d/f', '/clone'),
    (image) => image.xattr.set('/d', 'user.a', 'b'),
  ]
  for (const change of changes) {
    const device = withQuota()
    const image = XfsImage.open(device, { write: true })
    await change(image)
    image.close()
    assert.equal(qflags(device), ON)
    assert.deepEqual(XfsImage.open(device).check().findings.list, [])
  }
})

test('the flags are cleared in the transaction of the change, at whatever write it is cut', () => {
  const base = withQuota()
  const recorder = record(deviceAfter(base, [], 0))
  const image = XfsImage.open(recorder, { write: true })
  image.writeFile('/new', 'y'.repeat(50_000))
  image.close()
  const seen = new Set<boolean>()
  for (let n = 0; n <= recorder.events.length; n++) {
    const device = deviceAfter(base, recorder.events, n)
    assert.equal(recover(device).refused, undefined)
    const recovered = XfsImage.open(device)
    const changed = recovered.exists('/new')
    seen.add(changed)
    if (changed) assert.equal(recovered.geometry.sb.qflags, ON, `after ${n} writes`)
    assert.deepEqual(recovered.check().findings.list, [], `after ${n} writes`)
  }
  assert.deepEqual(seen, new Set([false, true]))
})

test('a repair clears them, too', () => {
  const device = withQuota()
  const { geometry } = Volume.open(device)
  const agf = new Uint8Array(geometry.sectsize)
  device.read(agf, geometry.sectsize)
  agf[216] = (agf[216] as number) ^ 1
  device.write(agf, geometry.sectsize)
  assert.equal(XfsImage.open(device).check().findings.total, 1)
  const image = XfsImage.open(device, { write: true })
  assert.equal(image.repair().changed, true)
  image.close()
  assert.equal(qflags(device), ON)
})

test('xfs_repair and xfs_db judge the flags', { skip: skip.newest }, () =>
  withTempDir((dir) => {
    const file = join(dir, 'image')
    xfskitOk(['mkfs', '-q', file, '-d', 'size=300m'])
    xfskitOk(['mkdir', file, '/d'])
    const device = openFile(file, 'rw')
    addQuota(device)
    device.close()
    judge(file)
    const quotaLines = (): string[] => {
      const { stdout, stderr } = spawnSync(newest.repair, ['-n', file], { encoding: 'utf8' })
      return `${stdout}${stderr}`.split('\n').filter((line) => /quota|bcount|icount/i.test(line))
    }
    const flags = (): string =>
      spawnSync(newest.db, ['-r', '-c', 'sb 0', '-c', 'print qflags', file], { encoding: 'utf8' }).stdout.trim()
    assert.equal(flags(), 'qflags = 0x1c7')
    assert.deepEqual(quotaLines(), [], 'the records are right')
    xfskitOk(['mkdir', file, '/e'])
    assert.equal(flags(), 'qflags = 0xc3')
    assert.deepEqual(quotaLines(), [], 'the records are not claimed to be right')
    judge(file)
    // Had the flags stayed, the records would be wrong.
    xfskitOk(['db', '-x', file, '-c', 'sb 0', '-c', 'write qflags 0x1c7'])
    assert.notDeepEqual(quotaLines(), [])
  }),
)
