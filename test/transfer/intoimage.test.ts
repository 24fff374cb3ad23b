import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { writeFile } from '../../src/data/write.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { entries } from '../../src/dir/dir.ts'
import { Agf } from '../../src/format/ag.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { openImage } from '../../src/image.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir, rename } from '../../src/namespace/namespace.ts'
import { finishRemoval } from '../../src/namespace/remove.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { CopyProblems } from '../../src/transfer/copyproblems.ts'
import { type Child, ImageWriter } from '../../src/transfer/intoimage.ts'
import { Volume } from '../../src/volume.ts'

const NOON = { seconds: 1_750_000_000, nanoseconds: 0 }
const text = (name: string): Uint8Array => new TextEncoder().encode(name)
const newFile = (name: string): Child => ({
  name: text(name),
  path: text(`/${name}`),
  mode: FILE_TYPES.reg | 0o644,
  uid: 0,
  gid: 0,
  atime: NOON,
  mtime: NOON,
  attrs: [],
})

test('a replaced file whose blocks cannot be freed is a problem of its own: what was committed is not tried again', () => {
  const device = memoryDevice(300 * 2 ** 20)
  mkfs(device)
  const first = openImage(device, { write: true })
  mkdir(first, '/dir', 0o755)
  // A file of many extents, in another AG than the root directory.
  const { ino, agno } = createFile(first, '/dir/old', 0o644)
  assert.notEqual(agno, rootDirectory(first).agno)
  for (let i = 0; i < 300; i++) writeFile(first, ino, i * 8192, new Uint8Array(4096).fill(1))
  rename(first, '/dir/old', '/old')
  first.close()

  const { geometry } = first
  const root = Agf.fields.bnoroot.get(first.agf(agno).view, 0)
  const place = geometry.daddr(agno, root) * BASIC_BLOCK
  const sound = new Uint8Array(geometry.blocksize)
  device.read(sound, place)
  device.write(
    sound.map((byte, i) => (i === 100 ? byte ^ 1 : byte)),
    place,
  )

  const told: string[] = []
  const problems = new CopyProblems(({ path, message }) => told.push(`${Buffer.from(path)}: ${message}`))
  const volume = openImage(device, { write: true })
  const writer = new ImageWriter(volume, problems)
  const dir = { ino: rootDirectory(volume).ino }
  writer.put(dir, newFile('before'))
  writer.put(dir, newFile('old'), 'replace')
  writer.put(dir, newFile('after'))
  writer.commit()
  assert.equal(told.length, 1)
  assert.match(told[0] as string, /^\/old: bnobt block/)
  assert.equal(writer.made, 3)
  volume.close()

  // With the block as it was, the inode that stayed unlinked can be freed.
  device.write(sound, place)
  const again = openImage(device, { write: true })
  finishRemoval(again, ino)
  const names = Array.from(entries(rootDirectory(again)), ({ name }) => Buffer.from(name).toString())
  assert.deepEqual(names.sort(), ['after', 'before', 'dir', 'old'])
  again.close()
  assert.deepEqual(check(device, Volume.open(device).geometry).findings.list, [])
})
