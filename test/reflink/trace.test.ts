import assert from 'node:assert/strict'
import { test } from 'node:test'
import { copyOnWrite } from '../../src/data/cow.ts'
import { falloc, fpunch } from '../../src/data/fallocate.ts'
import type { BmbtRec } from '../../src/format/btrecs.ts'
import { openInode } from '../../src/inode/inode.ts'
import { findExtent } from '../../src/mapping/extents.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { fsr } from '../../src/reflink/fsr.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { type TraceMessage, type TraceSubject, trace } from '../../src/util/trace.ts'
import { xfskit } from '../support/cli.ts'
import { withTempDir } from '../support/temp.ts'
import { filesOf, newImage, overlaid } from './images.ts'

const SUBJECTS = Object.keys(trace) as TraceSubject[]

/** The events that are published meanwhile: `refcount split`. */
function traced(action: () => void): Set<string> {
  const points = new Set<string>()
  const listeners = SUBJECTS.map((subject) => {
    const listen = (message: unknown): void => void points.add(`${subject} ${(message as TraceMessage).point}`)
    trace[subject].subscribe(listen)
    return () => trace[subject].unsubscribe(listen)
  })
  try {
    action()
  } finally {
    for (const stop of listeners) stop()
  }
  return points
}

test('every trace point is published', () => {
  withTempDir((folder) => {
    const volume = overlaid(newImage(folder, 'image'))
    const files = filesOf(volume)
    const { blocksize } = volume.geometry
    files.fill('a', 0, 40)
    const points = traced(() => {
      files.clone('a', 'b')
      files.clone('a', 'c', { length: 20 * blocksize })
      files.fill('b', 5, 3, 9)
      fpunch(volume, files.ino('c'), 2 * blocksize, 4 * blocksize)
      files.clone('a', 'c', { length: 20 * blocksize })
      falloc(volume, files.ino('c'), 30 * blocksize, 4 * blocksize)
      files.fill('c', 31, 2)
      const extent = findExtent(openInode(volume, files.ino('b')), 'data', 20) as BmbtRec
      copyOnWrite(volume, files.ino('b'), { ...extent, blockcount: 1 }, (offset) => offset)
      files.fill('d', 0, 3)
      finish(dedupe(volume, files.ino('a'), files.ino('d'), { srcOffset: 0, dstOffset: 0, length: 3 * blocksize }))
      finish(unshare(volume, files.ino('d'), { offset: 0, length: 3 * blocksize }))
      fpunch(volume, files.ino('d'), 0, blocksize)
      files.fill('d', 0, 1)
      finish(fsr(volume, files.ino('b'), { shared: 'keep' }))
    })
    const wanted = [
      'bmap convert', 'bmap map', 'bmap unmap', 'reflink cowCancel', 'reflink cowRemap', 'reflink cowReserve', 'reflink remapExtent',
      'reflink clearFlag', 'reflink compare', 'reflink fsrMove', 'reflink remapBlocks', 'reflink setFlag', 'reflink unshare', 'reflink updateSize',
      'refcount delete', 'refcount insert', 'refcount update',
      'refcount allocCow', 'refcount decrease', 'refcount findShared', 'refcount findSharedResult', 'refcount freeCow', 'refcount increase',
      'refcount merge', 'refcount modify', 'refcount split', 'rmap convert', 'rmap deferred', 'rmap map', 'rmap unmap', 'space alloc', 'space free',
    ] // biome-ignore format: a list
    assert.deepEqual([...points].sort(), wanted.sort())
    assert.deepEqual([...traced(() => files.read('a'))], [])
  })
})

test('a trace point without a subscriber has no measurable cost', () => {
  const channel = trace.refcount
  const loop = (times: number, check: boolean): number => {
    const start = process.hrtime.bigint()
    let sum = 0
    for (let i = 0; i < times; i++) {
      if (check && channel.hasSubscribers) channel.publish({ point: 'never' })
      sum += i & 3
    }
    assert.ok(sum > 0)
    return Number(process.hrtime.bigint() - start)
  }
  const TIMES = 3_000_000
  loop(TIMES, true)
  loop(TIMES, false)
  const nanoseconds = Math.min(...Array.from({ length: 5 }, () => (loop(TIMES, true) - loop(TIMES, false)) / TIMES))
  // A clone of one extent passes about ten trace points and takes more than ten microseconds.
  assert.ok(nanoseconds < 20, `${nanoseconds.toFixed(1)} ns a point`)
})

test('--trace prints them on standard error', () => {
  withTempDir((folder) => {
    const image = newImage(folder, 'image')
    xfskit(['io', '-f', image, '/a', '-c', 'pwrite 0 64k'])
    const { stdout, stderr, status } = xfskit(['reflink', image, '/a', '/b', '--trace', 'reflink,refcount'])
    assert.equal(status, 0)
    assert.equal(stdout, 'shared 65536 bytes in 1 extent\n')
    assert.match(stderr, /^reflink remapBlocks src=\d+ dst=\d+ srcOffset=0 dstOffset=0 length=16\n/)
    assert.match(stderr, /\nreflink remapExtent src=\d+ dst=\d+ startoff=0 blockcount=16 startblock=\d+\n/)
    assert.match(stderr, /\nrefcount modify agno=0 agbno=\d+ length=16 from=1 to=2\n/)
    assert.match(xfskit(['reflink', image, '/a', '/b', '--trace', 'nothing']).stderr, /unknown subject nothing/)
  })
})
