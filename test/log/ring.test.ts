import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { LOG_RECORD_MAGIC, LogOp, LogOpFlags, LogRecord, logCrc } from '../../src/format/log.ts'
import { type LogRing, type LogState, logState, ringState } from '../../src/log/ring.ts'
import { Volume } from '../../src/volume.ts'
import { crashImage, distribution, makeImage, mountImage, newest, skip, type Xfsprogs } from '../support/oracles.ts'
import { random } from '../support/random.ts'
import { tempDir } from '../support/temp.ts'

const UUID = '01234567-89ab-cdef-0123-456789abcdef'
const BLOCKS = 20_000

/** A log in memory, written one record at a time as the kernel does. */
class Writer {
  readonly bytes = new Uint8Array(BLOCKS * 512)
  readonly view = new DataView(this.bytes.buffer)
  cycle = 1
  head = 0

  get ring(): LogRing {
    return {
      uuid: UUID,
      version: 2,
      blocks: BLOCKS,
      read: (block, count) => {
        const out = new Uint8Array(count * 512)
        for (let i = 0; i < count; i++) {
          const at = ((block + i) % BLOCKS) * 512
          out.set(this.bytes.subarray(at, at + 512), i * 512)
        }
        return out
      },
    }
  }

  /** Write a record of `length` blocks of data; returns its place. */
  write(length: number, unmount = false): { cycle: number; block: number } {
    const place = { cycle: this.cycle, block: this.head }
    const at = this.head * 512
    this.bytes.fill(0, at, at + 512)
    LogRecord.encode(this.view, at, {
      magicno: LOG_RECORD_MAGIC,
      cycle: this.cycle,
      version: 2,
      len: length * 512,
      lsn: place,
      tail_lsn: place,
      num_logops: unmount ? 1 : 7,
      fs_uuid: UUID,
      size: 32768,
    })
    this.advance()
    for (let i = 0; i < length; i++) {
      const data = this.head * 512
      this.bytes.fill(0x55, data, data + 512)
      if (unmount && i === 0) LogOp.encode(this.view, data, { clientid: 0xaa, flags: LogOpFlags.unmount, len: 8 })
      this.view.setUint32(data, this.cycle)
      this.advance()
    }
    return place
  }

  advance(): void {
    if (++this.head < BLOCKS) return
    this.head = 0
    if (++this.cycle === LOG_RECORD_MAGIC) this.cycle++
  }
}

const position = ({ clean, fault, head, tail }: LogState) => ({ clean, fault, head, tail })

test('a log that was never written to is clean', () => {
  assert.deepEqual(position(ringState(new Writer().ring)), {
    clean: true,
    fault: undefined,
    head: { cycle: 0, block: 0 },
    tail: { cycle: 0, block: 0 },
  })
})

test('head and tail, at every stage of filling the ring more than once', () => {
  const writer = new Writer()
  const rng = random(5)
  for (let step = 0; step < 400; step++) {
    const unmount = rng.chance(0.2)
    const place = writer.write(unmount ? 1 : 1 + rng.int(400), unmount && writer.head < BLOCKS - 1)
    const state = ringState(writer.ring)
    const head = { cycle: writer.cycle, block: writer.head }
    assert.equal(state.fault, undefined, `step ${step}: ${state.fault}`)
    assert.deepEqual(state.head, head, `step ${step}`)
    if (state.clean) assert.deepEqual(state.tail, head)
    else assert.deepEqual(state.tail, place)
    assert.equal(state.clean, unmount && place.block < BLOCKS - 1, `step ${step}`)
  }
})

test('a record of which only a part arrived does not count', () => {
  const writer = new Writer()
  for (let i = 0; i < 90; i++) writer.write(300)
  const before = writer.write(10)
  const head = { cycle: writer.cycle, block: writer.head }
  const copy = writer.bytes.slice()
  writer.write(100)
  for (const arrived of [1, 2, 50, 100]) {
    const at = head.block * 512
    const torn = copy.slice()
    torn.set(writer.bytes.subarray(at, at + arrived * 512), at)
    const torned = new Writer()
    torned.bytes.set(torn)
    const state = ringState(torned.ring)
    assert.equal(state.fault, undefined)
    assert.deepEqual([state.head, state.tail], [head, before], `${arrived} blocks`)
  }
  // The last block arrived, one in the middle did not.
  const hole = new Writer()
  hole.bytes.set(writer.bytes)
  const missing = (head.block + 60) * 512
  hole.bytes.set(copy.subarray(missing, missing + 512), missing)
  assert.deepEqual(ringState(hole.ring).head, head)
})

/** Write the checksum of the record at `block`, with `length` blocks of data; wrong on request. */
function seal(writer: Writer, block: number, length: number, wrong = false): void {
  const at = block * 512
  const headers = writer.bytes.subarray(at, at + 512)
  const crc = logCrc(headers, writer.bytes.subarray(at + 512, at + 512 * (1 + length)))
  LogRecord.fields.crc.set(writer.view, at, wrong ? crc ^ 1 : crc)
}

test('a wrong checksum among the last eight records is a torn write: that record is the head', () => {
  for (let torn = 1; torn <= 9; torn++) {
    const writer = new Writer()
    writer.write(1, true)
    const places = Array.from({ length: 20 }, () => writer.write(30))
    // All records belong to one checkpoint: the tail is the first one.
    for (const { block } of places) {
      LogRecord.fields.tail_lsn.set(writer.view, block * 512, places[0] as { cycle: number; block: number })
      seal(writer, block, 30)
    }
    const bad = places.at(-torn) as { cycle: number; block: number }
    seal(writer, bad.block, 30, true)
    const { clean, fault, head, tail } = ringState(writer.ring)
    const expected = torn <= 8 ? bad : { cycle: writer.cycle, block: writer.head }
    assert.deepEqual(
      { clean, fault, head, tail },
      { clean: false, fault: undefined, head: expected, tail: places[0] },
      `${torn}`,
    )
  }
})

test('the first record after unmounting was torn: the log is clean', () => {
  const writer = new Writer()
  writer.write(1, true)
  const place = writer.write(30)
  seal(writer, place.block, 30, true)
  const { clean, fault, head } = ringState(writer.ring)
  assert.deepEqual({ clean, fault, head }, { clean: true, fault: undefined, head: place })
})

test('garbage gives a fault or a state, never an error or an endless loop', () => {
  const rng = random(11)
  for (let round = 0; round < 60; round++) {
    const writer = new Writer()
    const records = rng.int(100)
    for (let i = 0; i < records; i++) writer.write(1 + rng.int(400), rng.chance(0.1))
    for (let i = rng.int(30); i >= 0; i--) {
      const block = rng.chance(0.5) ? rng.int(BLOCKS) : Math.max(0, writer.head - 1 - rng.int(5))
      const at = block * 512 + rng.int(64)
      writer.bytes.set(rng.bytes(rng.pick([1, 4, 64])), at)
    }
    const state = ringState(writer.ring)
    assert.ok(state.fault !== undefined || state.head.block < BLOCKS)
  }
  const noise = new Writer()
  noise.bytes.set(rng.bytes(BLOCKS * 512))
  assert.equal(ringState(noise.ring).clean, false)
})

const stateOf = (image: string): LogState => {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    return logState(volume)
  } finally {
    volume.close()
  }
}

const makers: readonly [string, string | false, Xfsprogs, readonly string[]][] = [
  ['newest', skip.newest, newest, []],
  ['newest, log stripe of 256k', skip.newest, newest, ['-l', 'su=256k']],
  ['newest, sectors of 4k', skip.newest, newest, ['-s', 'size=4096']],
  ['distribution', skip.distribution, distribution, []],
  ['V4, log version 1', skip.distribution, distribution, ['-m', 'crc=0', '-l', 'version=1']],
]
for (const [name, reason, tools, args] of makers) {
  test(`what mkfs.xfs made is clean: ${name}`, { skip: reason }, () => {
    const image = join(tempDir(), 'image')
    makeImage(image, '300m', args, tools)
    const state = stateOf(image)
    assert.deepEqual([state.clean, state.fault], [true, undefined])
    assert.equal(state.head.cycle, 1)
  })
}

test('the kernel: clean after unmounting, dirty after a crash, as xfs_logprint reports', { skip: skip.kernel }, () => {
  for (const args of [[], ['-l', 'su=256k'], ['-l', 'size=16m']]) {
    const image = join(tempDir(), 'image')
    makeImage(image, '300m', args)
    const work = (rounds: number) => (folder: string) => {
      for (let i = 0; i < rounds; i++) {
        mkdirSync(join(folder, `d${i}`))
        for (let j = 0; j < 40; j++) writeFileSync(join(folder, `d${i}`, `file${j}`), 'x'.repeat(j * 100))
        execFileSync('sync', ['-f', folder])
        rmSync(join(folder, `d${i}`), { recursive: true })
      }
    }
    for (const rounds of [1, 60, 3]) {
      mountImage(image, work(rounds))
      const clean = stateOf(image)
      assert.deepEqual([clean.clean, clean.fault], [true, undefined], `${args} ${rounds}`)
      assert.deepEqual(logprint(image), { ...clean.head, clean: true })
      crashImage(image, work(rounds))
      const dirty = stateOf(image)
      assert.deepEqual([dirty.clean, dirty.fault], [false, undefined], `${args} ${rounds}`)
      assert.deepEqual(logprint(image), { ...dirty.head, clean: false })
      mountImage(image, () => {})
      assert.equal(stateOf(image).clean, true)
    }
  }
})

/** Head and state according to the reference tool. */
function logprint(image: string): { cycle: number; block: number; clean: boolean } {
  const text = execFileSync(newest.logprint, ['-t', image], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const match = /head: (\d+) state: <(\w+)>/.exec(text) ?? /tail: \d+ head: (\d+) state: <(\w+)>/.exec(text)
  assert.ok(match, text)
  return { cycle: stateOf(image).head.cycle, block: Number(match[1]), clean: match[2] === 'CLEAN' }
}
