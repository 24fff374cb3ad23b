import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { geometryOf } from '../../src/format/geometry.ts'
import * as log from '../../src/format/log.ts'
import * as items from '../../src/format/logitems.ts'
import { Superblock } from '../../src/format/sb.ts'
import { fill, makeImage, skipKernel } from '../file/support.ts'
import { referenceImage } from '../support/reference.ts'
import { tempDir } from '../support/temp.ts'

const SCRIPT = `
mkdir a; for i in $(seq 1 400); do echo hi > a/f$i; done
dd if=/dev/zero of=big bs=4k count=500 status=none; cp --reflink=always big big2; sync
rm -f a/f1*; ln a/f2 a/l2; truncate -s 1m big2
$XFS_IO -x -c fsync big2; $XFS_IO -x -c 'shutdown -f' .
`

/**
 * Every record of a log: its header, its data with the first words restored, and whether the
 * checksum is right.
 */
function* records(bytes: Uint8Array): Generator<{ header: log.LogRecord; data: DataView; right: boolean }> {
  const view = new DataView(bytes.buffer)
  const geometry = geometryOf(Superblock.decode(view))
  const start = geometry.fsbToDaddr(geometry.sb.logstart) * 512
  const end = start + geometry.sb.logblocks * geometry.blocksize
  for (let at = start; at < end; ) {
    const header = view.getUint32(at) === log.LOG_RECORD_MAGIC ? log.LogRecord.decode(view, at) : undefined
    if (!header || header.len === 0) {
      at += 512
      continue
    }
    const blocks = log.logHeaderBlocks(header.size)
    const data = bytes.slice(at + 512 * blocks, at + 512 * blocks + header.len)
    const right = header.crc === log.logCrc(bytes.subarray(at, at + 512 * blocks), data)
    const unpacked = new DataView(data.buffer)
    for (let i = 0; i * 512 < header.len; i++) {
      const words =
        i < 64 ? header.cycle_data : log.LogRecordExt.fields.cycle_data.get(view, at + 512 * Math.floor(i / 64))
      unpacked.setUint32(i * 512, words[i % 64] as number)
    }
    yield { header, data: unpacked, right }
    at += 512 * (blocks + Math.ceil(header.len / 512))
  }
}

for (const options of ['loop', 'loop,logbsize=256k']) {
  test(`records and items of a log of the kernel (${options})`, () => {
    const path = join(tempDir(), 'dirty.img')
    const make = (): void => {
      makeImage(path, '320m')
      fill(path, SCRIPT, undefined, options)
    }
    referenceImage(`log-${options.replace(/\W/g, '-')}`, path, make, skipKernel === false)
    const counts = new Map<string, number>()
    for (const { header, data, right } of records(new Uint8Array(readFileSync(path)))) {
      // The record of mkfs has no checksum.
      assert.ok(right || header.crc === 0)
      assert.equal(log.byteOrderOf(header.fmt), 'little')
      let at = 0
      for (let i = 0; i < header.num_logops && at + 12 <= header.len; i++) {
        const op = log.LogOp.decode(data, at)
        at += 12
        if (op.clientid === log.LogClients.transaction && op.len >= 16 && at + op.len <= header.len)
          count(data, at, op.len)
        at += op.len
      }
    }
    for (const name of ['trans', 'buf', 'inode', 'icreate']) assert.ok((counts.get(name) ?? 0) > 0, name)

    function count(data: DataView, at: number, length: number): void {
      const add = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)
      const trans = log.TransHeader.little.decode(data, at)
      if (trans.magic === log.TRANS_HEADER_MAGIC) {
        assert.equal(trans.type, log.TRANS_CHECKPOINT)
        add('trans')
        return
      }
      const code = data.getUint16(at, true)
      const name = typeNames.find((name) => items.LogItemTypes[name] === code)
      const row = name && items.logItems[name]
      if (!name || !row || length < Math.min(row.format.size, items.BufLogFormat.little.fields.data_map.offset)) return
      if (name === 'icreate' && length === 28) {
        const icreate = items.IcreateLog.little.decode(data, at)
        assert.deepEqual(
          [icreate.type, icreate.size, icreate.count, icreate.isize, icreate.length],
          [0x123f, 1, 64, 512, 8],
        )
        add(name)
      } else if (name === 'inode' && length === 56) {
        const inode = items.InodeLogFormat.little.decode(data, at)
        assert.ok(inode.ino >= 128 && inode.len === 32 && inode.boffset % 512 === 0)
        if (at + length + 12 + items.LogDinode.size <= data.byteLength) {
          const core = items.LogDinode.little.decode(data, at + length + 12)
          assert.deepEqual([core.magic, core.version, core.inumber], [0x494e, 3, inode.ino])
        }
        add(name)
      } else if (name === 'buf') {
        const { len, blkno, map_size, flags } = items.BufLogFormat.little.decode(new DataView(padded(data, at, length)))
        assert.ok(
          len > 0 && blkno >= 0 && map_size <= items.BLF_MAP_WORDS && ((flags >>> items.BLF_TYPE_SHIFT) & 31) <= 20,
        )
        add(name)
      }
    }
  })
}

const typeNames = Object.keys(items.LogItemTypes) as items.LogItemType[]

/** The map of a buffer item is only as long as necessary: extend it to the full length. */
function padded(data: DataView, at: number, length: number): ArrayBuffer {
  const bytes = new Uint8Array(88)
  bytes.set(new Uint8Array(data.buffer, at, Math.min(88, length)))
  return bytes.buffer
}

test('header blocks, byte orders, cycles', () => {
  assert.deepEqual(
    [32768, 32769, 65536, 262144].map((size) => log.logHeaderBlocks(size)),
    [1, 2, 2, 8],
  )
  assert.equal(log.logHeaderBlocks(262144, 1), 1)
  assert.deepEqual([0, 1, 2, 3].map(log.byteOrderOf), [undefined, 'little', 'big', undefined])
  const view = new DataView(new ArrayBuffer(512))
  view.setUint32(0, 7)
  assert.equal(log.blockCycle(view, 0), 7)
  view.setUint32(0, log.LOG_RECORD_MAGIC)
  view.setUint32(4, 9)
  assert.equal(log.blockCycle(view, 0), 9)
})

test('the form of an extent list follows from its length', () => {
  assert.equal(items.efiExtentSize(16 + 3 * 16, 3), 16)
  assert.equal(items.efiExtentSize(16 + 3 * 12, 3), 12)
  assert.equal(items.efiExtentSize(16 + 3 * 12 + 4, 3), undefined)
  assert.deepEqual(items.legacyTime({ hi: 1, lo: 2 }, 'little'), { hi: 2, lo: 1 })
})
