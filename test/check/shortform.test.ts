import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { memoryDevice } from '../../src/device/memory.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { stampInode } from '../../src/format/verify/stamp.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { XfsImage } from '../../src/xfsimage/xfsimage.ts'
import { judge } from '../support/judge.ts'
import { tempDir } from '../support/temp.ts'

const CORE = 176
/** Of a shortform directory without 8-byte inode numbers: bytes of the header. */
const HEADER = 6

test('the offset of an entry of a shortform directory is a multiple of 8', () => {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device)
  const image = XfsImage.open(device, { write: true })
  image.mkdir('/a')
  image.writeFile('/b', 'b')
  image.close()
  const { geometry } = Volume.open(device)
  const { rootino } = geometry.sb
  const agbno = geometry.aginoAgbno(geometry.inoAgino(rootino))
  const position = geometry.daddr(0, agbno) * BASIC_BLOCK + geometry.aginoIndex(rootino) * geometry.inodesize
  const bytes = new Uint8Array(geometry.inodesize)
  device.read(bytes, position)
  const view = new DataView(bytes.buffer)
  const at = CORE + HEADER + 1
  view.setUint16(at, view.getUint16(at) + 1)
  stampInode(view, 0, geometry)
  device.write(bytes, position)
  const { before, after, declined } = repair(device)
  assert.deepEqual(
    before.findings.list.filter(({ id }) => id === 'dir.block').map(({ facts }) => facts['ino']),
    [rootino],
  )
  assert.deepEqual([after.findings.list, declined], [[], []])
  const changed = XfsImage.open(device, { write: true })
  changed.writeFile('/c', 'c')
  assert.equal(changed.readFile('/b', 'utf8'), 'b')
  changed.close()
  const file = join(tempDir(), 'image')
  const all = new Uint8Array(device.size)
  device.read(all, 0)
  writeFileSync(file, all)
  judge(file)
})
