import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { AG_SECTORS, Agfl } from '../../src/format/ag.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import {
  LOG_RECORD_MAGIC,
  LogClients,
  LogFormats,
  LogOp,
  LogOpFlags,
  LogRecord,
  logCrc,
  TRANS_CHECKPOINT,
  TRANS_HEADER_MAGIC,
  TransHeader,
} from '../../src/format/log.ts'
import { BLF_CHUNK, BLF_TYPE_SHIFT, BlfTypes, BufLogFormat, LogItemTypes } from '../../src/format/logitems.ts'
import { readLsn } from '../../src/format/lsn.ts'
import { keptWordAt, logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { recover } from '../../src/recovery/recover.ts'
import { viewOf } from '../../src/util/view.ts'
import { Volume } from '../../src/volume.ts'

interface Op {
  readonly tid: number
  readonly flags: number
  readonly data?: Uint8Array
}

/** Operations of a transaction that logs one chunk of a block. */
function transaction(tid: number, daddr: number, type: number, chunk: number, bytes: Uint8Array): Op[] {
  const header = new Uint8Array(TransHeader.size)
  TransHeader.little.encode(viewOf(header), 0, { magic: TRANS_HEADER_MAGIC, type: TRANS_CHECKPOINT, tid, num_items: 1 })
  const format = new Uint8Array(BufLogFormat.big.fields.data_map.offset + 4)
  const whole = new Uint8Array(BufLogFormat.size)
  BufLogFormat.little.encode(viewOf(whole), 0, {
    type: LogItemTypes.buf,
    size: 2,
    flags: type << BLF_TYPE_SHIFT,
    len: 1,
    blkno: daddr,
    map_size: 1,
    data_map: [2 ** chunk],
  })
  format.set(whole.subarray(0, format.length))
  return [
    { tid, flags: LogOpFlags.start },
    { tid, flags: 0, data: header },
    { tid, flags: 0, data: format },
    { tid, flags: 0, data: bytes },
    { tid, flags: LogOpFlags.commit },
  ]
}

test('transactions that begin in the same record: each changes its part of a block', () => {
  const device = memoryDevice(64 * 2 ** 20)
  mkfs(device, {})
  const { geometry } = Volume.open(device)
  const { sb } = geometry
  const { head, tail } = logState(Volume.open(device))
  const daddr = geometry.agHeaderDaddr(1, AG_SECTORS.agfl)
  const [one, other] = [new Uint8Array(BLF_CHUNK).fill(0x11), new Uint8Array(BLF_CHUNK).fill(0x22)]
  const ops = [...transaction(1, daddr, BlfTypes.agfl, 2, one), ...transaction(2, daddr, BlfTypes.agfl, 3, other)]
  const data = new Uint8Array(BASIC_BLOCK)
  let at = 0
  for (const { tid, flags, data: bytes = new Uint8Array(0) } of ops) {
    LogOp.encode(viewOf(data), at, { tid, len: bytes.length, clientid: LogClients.transaction, flags })
    data.set(bytes, at + LogOp.size)
    at += LogOp.size + bytes.length
  }
  const block = new Uint8Array(BASIC_BLOCK)
  const record = {
    magicno: LOG_RECORD_MAGIC,
    cycle: head.cycle,
    version: 2,
    len: data.length,
    lsn: head,
    tail_lsn: tail,
    num_logops: ops.length,
    fmt: LogFormats.little,
    fs_uuid: sb.uuid,
    size: 32768,
  }
  LogRecord.encode(viewOf(block), 0, record)
  viewOf(block).setUint32(keptWordAt(0), viewOf(data).getUint32(0))
  viewOf(data).setUint32(0, head.cycle)
  LogRecord.fields.crc.set(viewOf(block), 0, logCrc(block, data))
  const start = geometry.fsbToDaddr(sb.logstart) * BASIC_BLOCK
  device.write(block, start + head.block * BASIC_BLOCK)
  device.write(data, start + (head.block + 1) * BASIC_BLOCK)

  const { transactions, refused } = recover(device)
  assert.deepEqual([transactions, refused], [2, undefined])
  const agfl = new Uint8Array(BASIC_BLOCK)
  device.read(agfl, daddr * BASIC_BLOCK)
  assert.deepEqual([...agfl.subarray(2 * BLF_CHUNK)], [...one, ...other])
  assert.deepEqual(readLsn(viewOf(agfl), Agfl.fields.lsn.offset), head)
  assert.deepEqual(check(device, geometry).findings.list, [])
})
