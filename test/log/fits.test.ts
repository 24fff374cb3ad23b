import assert from 'node:assert/strict'
import { test } from 'node:test'
import { getXattr, setXattr } from '../../src/attr/xattrs.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { falloc, fcollapse, finsert, fpunch, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { type DeviceEvent, deviceAfter, record } from '../../src/device/record.ts'
import { AG_SECTORS } from '../../src/format/ag.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { BASIC_BLOCK } from '../../src/format/geometry.ts'
import { LOG_RECORD_MAGIC, LogRecord } from '../../src/format/log.ts'
import { Superblock } from '../../src/format/sb.ts'
import { blockTypes } from '../../src/format/verify/blocktypes.ts'
import { openInode } from '../../src/inode/inode.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { createFile, mkdir, unlink } from '../../src/namespace/namespace.ts'
import type { NewChildAttr } from '../../src/namespace/newinodes.ts'
import { removeTree } from '../../src/namespace/removetree.ts'
import { resolve } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { recoverLog } from '../../src/recovery/recover.ts'
import { fsr } from '../../src/reflink/fsr.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { CopyProblems } from '../../src/transfer/copyproblems.ts'
import { type Child, ImageWriter } from '../../src/transfer/intoimage.ts'
import { withTransaction } from '../../src/tx/transaction.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'

/**
 * Limits for operations of any size: a transaction takes at most half of the log, and at most 8
 * records of 256 KiB are written between two flushes. After a power cut that loses any of the
 * writes since the last flush, replaying the log gives a sound image.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const MIB = 2 ** 20
const NOON = { seconds: 1_750_000_000, nanoseconds: 0 }
const text = (name: string): Uint8Array => new TextEncoder().encode(name)

const open = (device: Device): Volume => Volume.open(device, { write: true, committer: loggedCommits })
const findings = (device: Device): string[] =>
  check(device, Volume.open(device).geometry).findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)

function formatted(size: number, options: MkfsOptions = {}): Device {
  const device = memoryDevice(size)
  mkfs(device, options)
  return device
}

/**
 * The log records among the writes of `events`: their place, and the number of blocks of each with
 * its header.
 */
interface Flight {
  readonly event: number
  readonly blocks: number
  readonly cycle: number
  readonly tail: string
  readonly at: number
}

function flights(device: Device, events: readonly DeviceEvent[]): Flight[][] {
  const { sb, fsbToDaddr } = Volume.open(device).geometry
  const start = fsbToDaddr(sb.logstart) * BASIC_BLOCK
  const end = start + sb.logblocks * sb.blocksize
  const groups: Flight[][] = [[]]
  events.forEach((event, i) => {
    if (event.kind === 'flush') groups.push([])
    if (event.kind !== 'write' || event.position < start || event.position >= end) return
    const view = new DataView(event.bytes.buffer, event.bytes.byteOffset, event.bytes.byteLength)
    const group = groups.at(-1) as Flight[]
    const blocks = event.bytes.length / BASIC_BLOCK
    if (view.getUint32(0) !== LOG_RECORD_MAGIC || LogRecord.fields.num_logops.get(view, 0) === 0) return
    const { cycle, block } = LogRecord.fields.tail_lsn.get(view, 0)
    group.push({ event: i, blocks, cycle, tail: `${cycle}:${block}`, at: event.position })
  })
  return groups.filter((group) => group.length > 0)
}

/** The limits that recovery relies on, for every written record. */
function assertBounded(device: Device, events: readonly DeviceEvent[]): Flight[][] {
  const { sb } = Volume.open(device).geometry
  const ring = (sb.logblocks * sb.blocksize) / BASIC_BLOCK
  const groups = flights(device, events)
  const sizes = new Map<string, number>()
  for (const group of groups) {
    const blocks = group.reduce((sum, record) => sum + record.blocks, 0)
    assert.ok(group.length <= 8 && blocks <= 4096, `${group.length} records of ${blocks} blocks on their way`)
    for (const record of group) {
      assert.ok(record.blocks <= 512, `a record of ${record.blocks} blocks`)
      sizes.set(record.tail, (sizes.get(record.tail) ?? 0) + record.blocks)
    }
  }
  for (const [tail, blocks] of sizes)
    assert.ok(blocks <= ring / 2 + 8, `the transaction at ${tail} takes ${blocks} blocks of ${ring}`)
  return groups
}

/** The image is sound after a power cut in the middle of `group` that loses some of its records. */
function assertSurvives(base: Device, events: readonly DeviceEvent[], group: readonly Flight[], lost: number[]): void {
  const last = (group.at(-1) as Flight).event
  const kept = events.slice(0, last + 1).filter((_, i) => !lost.includes(group.findIndex(({ event }) => event === i)))
  const device = deviceAfter(base, kept, kept.length)
  const label = `${lost} of ${group.length} records lost, after event ${last} of ${events.length}`
  recoverLog(device)
  const rest = findings(device)
  assert.deepEqual(rest.slice(0, 5), [], label)
}

const child = (name: string, attrs: readonly NewChildAttr[] = []): Child => ({
  name: text(name),
  path: text(name),
  mode: FILE_TYPES.reg | 0o644,
  uid: 0,
  gid: 0,
  atime: NOON,
  mtime: NOON,
  attrs,
})

const bigAttrs = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    space: 0,
    name: text(`attribute ${i}`),
    value: new Uint8Array(60_000).fill(i + 1),
  }))

/** Put children into the root directory. */
function put(volume: Volume, children: readonly Child[]): void {
  const problems = new CopyProblems(({ message }) => assert.fail(message))
  const writer = new ImageWriter(volume, problems)
  const root = { ino: resolve(volume, '/').ino }
  for (const each of children) writer.put(root, each)
  writer.commit()
  assert.equal(writer.made, children.length)
}

function recorded(base: Device, work: (volume: Volume) => void) {
  const copy = overlay(base)
  const recorder = record(copy)
  const volume = open(recorder)
  work(volume)
  volume.close()
  return { events: recorder.events, copy }
}

test('4,096 files with large inodes in a small log: every cut, with any of the last records lost, is healed', () => {
  const base = formatted(64 * MIB, { inodesize: 2048 })
  const { events, copy } = recorded(base, (volume) =>
    put(
      volume,
      Array.from({ length: 4096 }, (_, i) => child(`file ${i}`)),
    ),
  )
  const groups = assertBounded(base, events)
  assert.ok(groups.length > 4, 'the work is larger than what may be on its way')
  groups.forEach((group, i) => {
    const lost = [[], [0], [group.length - 1], [1], [0, 2]][i % 5] as number[]
    assertSurvives(base, events, group, lost)
  })
  assert.deepEqual(findings(copy), [])
})

test('attributes that are larger than the log altogether, and those of one file', () => {
  const base = formatted(300 * MIB, { logsize: 10 * MIB })
  const files = [...Array.from({ length: 150 }, (_, i) => child(`f${i}`, bigAttrs(1))), child('many', bigAttrs(300))]
  const { events, copy } = recorded(base, (volume) => put(volume, files))
  assertBounded(base, events)
  assert.deepEqual(findings(copy), [])
  const volume = Volume.open(copy)
  const { ino } = resolve(volume, '/many')
  for (const i of [0, 150, 299])
    assert.deepEqual(getXattr(openInode(volume, ino), text(`user.attribute ${i}`)), new Uint8Array(60_000).fill(i + 1))
})

/** An image with the minimum log size. */
function smallestLog(options: MkfsOptions): Device {
  const probe = memoryDevice(512 * MIB)
  let blocks = 0
  assert.throws(
    () => mkfs(probe, { ...options, logsize: 2 * MIB }),
    ({ message }) => {
      blocks = Number(/(\d+)[^\d]*$/.exec(message)?.[1])
      return blocks > 0
    },
  )
  return formatted(512 * MIB, { ...options, logsize: blocks * (options.blocksize ?? 4096) })
}

/** Set the stripe unit of the log in all superblocks. */
function withLogUnit(device: Device, bytes: number): Device {
  const volume = Volume.open(device, { write: true })
  const { geometry } = volume
  withTransaction(volume, (tx) => {
    for (let agno = 0; agno < geometry.agcount; agno++)
      Superblock.fields.logsunit.set(
        tx.edit(tx.read(blockTypes.sb, geometry.agHeaderDaddr(agno, AG_SECTORS.sb), geometry.sectsize)),
        0,
        bytes,
      )
  })
  volume.close()
  return device
}

for (const [what, base] of Object.entries({
  '1 KiB blocks': () => smallestLog({ blocksize: 1024 }),
  '64 KiB directory blocks': () => smallestLog({ blocksize: 1024, dirblocksize: 65536 }),
  'a log stripe unit of 32 KiB': () => withLogUnit(smallestLog({}), 32768),
  'a log stripe unit of 256 KiB': () => withLogUnit(smallestLog({}), 262144),
})) {
  if (LONG || /1 KiB|256/.test(what)) test(`long work on the smallest log, ${what}`, () => longWork(base()))
}

function longWork(base: Device): void {
  const { blocksize } = Volume.open(base).geometry
  const { events, copy } = recorded(base, (volume) => {
    const many = createFile(volume, '/many', 0o644).ino
    // Every second block is a hole, so there are as many extents as blocks.
    const block = new Uint8Array(blocksize).fill(1)
    for (let i = 0; i < 2500; i++) writeFile(volume, many, i * 2 * blocksize, block)
    const twin = createFile(volume, '/twin', 0o644).ino
    finish(reflink(volume, many, twin, { srcOffset: 0, dstOffset: 0, length: 0 }))
    finish(unshare(volume, twin, { offset: 0, length: 1600 * blocksize }))
    fcollapse(volume, many, 0, 2 * blocksize)
    finsert(volume, many, 0, 2 * blocksize)
    falloc(volume, twin, 0, 2500 * blocksize)
    fpunch(volume, twin, 0, 2000 * blocksize)
    finish(fsr(volume, many, { shared: 'keep' }))
    truncate(volume, many, 100 * blocksize)
    mkdir(volume, '/dir', 0o755)
    for (let i = 0; i < 120; i++) {
      const { ino } = createFile(volume, `/dir/${'a long name '.repeat(15)}${i}`, 0o644)
      setXattr(volume, ino, text('user.big'), new Uint8Array(30_000).fill(i))
      for (let at = 0; at < 60; at++) writeFile(volume, ino, at * 2 * blocksize, block)
    }
    finish(removeTree(volume, '/dir'))
    unlink(volume, '/twin')
  })
  assertBounded(base, events)
  assert.deepEqual(findings(copy), [])
  const left = [...walkTree(resolve(Volume.open(copy), '/'))].map(({ path }) => Buffer.from(path).toString())
  assert.deepEqual(left.filter(Boolean), ['many'])
}
