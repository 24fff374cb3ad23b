import assert from 'node:assert/strict'
import { test } from 'node:test'
import { itemsOf } from '../../src/db/types.ts'
import { liveEntries } from '../../src/dir/leafentries.ts'
import { attrLeafItems } from '../../src/format/attrentries.ts'
import { dataItems, leafEntriesSpan, nodeSpan } from '../../src/format/dirblocks.ts'
import { Dqblk } from '../../src/format/dquot.ts'
import { geometryOf } from '../../src/format/geometry.ts'
import { Superblock } from '../../src/format/sb.ts'
import type { BlockType, Fault } from '../../src/format/verify/blocktype.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { verifyInode } from '../../src/format/verify/inodes.ts'
import { stamp } from '../../src/format/verify/stamp.ts'
import { checkSuperblock } from '../../src/format/verify/superblock.ts'
import { verify, verifyFields } from '../../src/format/verify/verify.ts'
import { dbTypeOf, located } from '../support/fields.ts'
import { random } from '../support/random.ts'
import { copyOf, type Found, metadata, type Sample, sample, sampleNames } from './sample.ts'

const LONG = process.env['XFSKIT_LONG'] === '1'

/** A valid superblock: 300 MiB, 4 KiB blocks, 4 AGs. */
const superblock = (): Superblock => {
  const view = new DataView(new ArrayBuffer(512))
  return {
    ...Superblock.decode(view),
    magicnum: 0x58465342,
    blocksize: 4096,
    blocklog: 12,
    sectsize: 512,
    sectlog: 9,
    inodesize: 512,
    inodelog: 9,
    inopblock: 8,
    inopblog: 3,
    agblocks: 19200,
    agblklog: 15,
    agcount: 4,
    dblocks: 76800,
    versionnum: 0xb4b5,
    imax_pct: 25,
    logstart: 65543,
    logblocks: 16384,
    inoalignmt: 8,
    features_incompat: 0xeb,
    features_ro_compat: 0xf,
    features2: 0x18a,
    uuid: '01234567-89ab-cdef-0123-456789abcdef',
  }
}

test('rules of the superblock', () => {
  assert.equal(checkSuperblock(superblock()), undefined)
  const wrong: Partial<Superblock>[] = [
    { magicnum: 1 },
    { versionnum: 0xb4b7 },
    { blocksize: 4095 },
    { blocklog: 13 },
    { sectsize: 100 },
    { sectlog: 0 },
    { sectsize: 8192, sectlog: 13 },
    { dirblklog: 5 },
    { inodesize: 128, inodelog: 7 },
    { inopblock: 9 },
    { inopblog: 200 },
    { agblocks: 10 },
    { agblocks: 0 },
    { agblklog: 16 },
    { agblocks: 0xffffffff },
    { agcount: 0 },
    { agcount: 5 },
    { dblocks: 0 },
    { dblocks: -1 },
    { dblocks: 2 ** 62 },
    { imax_pct: 101 },
    { inoalignmt: 4 },
    { logblocks: 2 ** 21 },
    { logstart: 2 ** 40 },
    { logstart: -1 },
    { shared_vn: 1 },
  ]
  for (const change of wrong) {
    const fault = checkSuperblock({ ...superblock(), ...change })
    assert.ok(fault?.field, JSON.stringify(change))
  }
})

test('quota records are verified each by itself', () => {
  const geometry = geometryOf(superblock())
  const view = new DataView(new ArrayBuffer(4096))
  for (let i = 0; i < 30; i++) {
    Dqblk.encode(view, i * 136, { uuid: geometry.sb.uuid })
    Dqblk.fields.diskdq.inner?.encode(view, i * 136, { magic: 0x4451, version: 1, type: 1, id: 60 + i } as never)
  }
  const context = { geometry, daddr: 1000 }
  assert.ok(verify(blockTypes.dquot, view, context)?.crc)
  stamp(blockTypes.dquot, view, context)
  assert.equal(verify(blockTypes.dquot, view, context), undefined)
  view.setUint8(5 * 136 + 3, 3)
  assert.equal(verify(blockTypes.dquot, view, context)?.crc, true)
  assert.equal(verifyFields(blockTypes.dquot, view, context)?.field, 'diskdq.type')
})

/** Sound blocks of each type, up to this number. */
function sound(of: Sample, most: number): Map<BlockType, Found[]> {
  const groups = new Map<BlockType, Found[]>()
  for (const found of metadata(of)) {
    const list = groups.get(found.type) ?? []
    groups.set(found.type, list)
    if (list.length >= most) continue
    if (verify(found.type, copyOf(of, found), { geometry: of.geometry, daddr: found.daddr }) === undefined)
      list.push(found)
  }
  return groups
}

for (const name of sampleNames) {
  test(`blocks that the kernel wrote are sound (${name})`, () => {
    const of = sample(name)
    const { geometry } = of
    const counts = new Map<string, number>()
    for (const found of metadata(of)) {
      const view = copyOf(of, found)
      const fault = verify(found.type, view, { geometry, daddr: found.daddr })
      // A block that was freed, or whose size was misjudged, may have a stale checksum, but no
      // other fault.
      if (fault?.crc) continue
      if (fault && found.type === blockTypes.daNode && geometry.dirblocksize !== geometry.blocksize) continue
      assert.equal(fault, undefined, `${found.type.name} at ${found.daddr}`)
      counts.set(found.type.name, (counts.get(found.type.name) ?? 0) + 1)
      if (found.type !== blockTypes.inodes) continue
      for (let i = 0; i < geometry.inopblock; i++) {
        const agno = geometry.daddrToAgno(found.daddr)
        const ino = geometry.ino(agno, geometry.agbnoToAgino(geometry.daddrToAgbno(found.daddr)) + i)
        assert.equal(verifyInode(view, i * geometry.inodesize, ino, geometry), undefined, `inode ${ino}`)
        assert.ok(verifyInode(view, i * geometry.inodesize, ino + 1, geometry), `inode ${ino} taken for another`)
      }
    }
    for (const type of [
      'bmbt',
      'dirBlock',
      'dirData',
      'dirLeaf1',
      'dirLeafN',
      'dirFree',
      'daNode',
      'attrLeaf',
      'attrRemote',
      'symlink',
      'inodes',
    ]) {
      assert.ok((counts.get(type) ?? 0) > 0, `no ${type}`)
    }
  })

  test(`stamp makes the checksum that the kernel wrote (${name})`, () => {
    const of = sample(name)
    for (const [type, list] of sound(of, 3)) {
      for (const found of list) {
        const view = copyOf(of, found)
        const before = new Uint8Array(view.buffer.slice(0))
        stamp(type, view, { geometry: of.geometry, daddr: found.daddr })
        assert.deepEqual(new Uint8Array(view.buffer), before, type.name)
      }
    }
  })

  test(`no damage makes a verifier throw, and what passes can be walked (${name})`, () => {
    const of = sample(name)
    const { geometry } = of
    const dice = random(7)
    for (const [type, list] of sound(of, 2)) {
      for (const found of list) {
        const context = { geometry, daddr: found.daddr }
        const whole = copyOf(of, found)
        // Every byte of the first 128, then a sample: flipped, zeroed, set.
        const rest = Array.from({ length: LONG ? 4000 : 250 }, () => dice.int(found.length))
        for (const at of [...Array(128).keys(), ...rest]) {
          const view = new DataView(whole.buffer.slice(0))
          const old = view.getUint8(at)
          view.setUint8(at, dice.pick([old ^ 0xff, old ^ (1 << dice.int(8)), 0, 0xff, old + 1]))
          if (view.getUint8(at) === old) continue
          const first = verify(type, view, context)
          if (type !== blockTypes.inodes) assert.ok(first, `${type.name} at ${found.daddr}, byte ${at}: not noticed`)
          stamp(type, view, context)
          const fault = verify(type, view, context)
          if (!fault && type !== blockTypes.inodes) walk(type, view)
          print(type, view)
          if (type === blockTypes.inodes) everyInode(view, found.daddr)
        }
      }
    }

    function everyInode(view: DataView, daddr: number): void {
      const agino = geometry.agbnoToAgino(geometry.daddrToAgbno(daddr))
      for (let i = 0; i < geometry.inopblock; i++) {
        const fault: Fault | undefined = verifyInode(
          view,
          i * geometry.inodesize,
          geometry.ino(geometry.daddrToAgno(daddr), agino + i),
          geometry,
        )
        assert.ok(fault === undefined || fault.message.length > 0)
        const one = new DataView(view.buffer, i * geometry.inodesize, geometry.inodesize)
        print(blockTypes.inodes, one)
      }
    }

    /** The iterators accept everything that the verifier accepts. */
    function walk(type: BlockType, view: DataView): void {
      if (type === blockTypes.dirData || type === blockTypes.dirBlock)
        for (const item of dataItems(view)) assert.ok(item.size > 0)
      if (type === blockTypes.dirBlock || type === blockTypes.dirLeaf1 || type === blockTypes.dirLeafN)
        assert.ok([...liveEntries(view, leafEntriesSpan(view))])
      if (type === blockTypes.daNode) assert.ok(nodeSpan(view).count > 0)
      if (type === blockTypes.attrLeaf) for (const item of attrLeafItems(view)) assert.ok(item.size > 0)
    }

    /** Printing never throws, for any bytes. */
    function print(type: BlockType, view: DataView): void {
      const db = dbTypeOf(type)
      assert.ok(db, type.name)
      if (type === blockTypes.inodes && view.byteLength !== geometry.inodesize) return
      for (const { field, at } of located(itemsOf(db, view, geometry))) {
        assert.ok(at + field.offset + field.size <= view.byteLength, `${type.name} ${field.name} at ${at}`)
        field.text(view, at)
      }
    }
  })
}

test('random bytes of every length get a fault, never an exception', () => {
  const geometry = geometryOf(superblock())
  const dice = random(3)
  for (const type of Object.values(blockTypes) as BlockType[]) {
    if (type === blockTypes.data) continue
    for (const length of [0, 1, 8, 512, 4096, 8192]) {
      for (const magic of [undefined, ...type.magics]) {
        const view = new DataView(dice.bytes(length).buffer as ArrayBuffer)
        if (magic !== undefined && type.magic && type.magic.offset + type.magic.size <= length) {
          if (type.magic.size === 2) view.setUint16(type.magic.offset, magic)
          else view.setUint32(type.magic.offset, magic)
        }
        const context = { geometry, daddr: dice.int(600000) }
        assert.ok(verify(type, view, context), type.name)
        if (length > 0) stamp(type, view, context)
        if (type !== blockTypes.inodes) assert.ok(verifyFields(type, view, context), type.name)
      }
    }
  }
})
