import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { readFile } from '../../src/data/data.ts'
import { fpunch, truncate } from '../../src/data/fallocate.ts'
import { writeFile } from '../../src/data/write.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { openInode } from '../../src/inode/inode.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { logState } from '../../src/log/ring.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import { createFile, mkdir, rename, unlink } from '../../src/namespace/namespace.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { recover } from '../../src/recovery/recover.ts'
import { dedupe } from '../../src/reflink/dedupe.ts'
import { reflink } from '../../src/reflink/reflink.ts'
import { unshare } from '../../src/reflink/unshare.ts'
import { finish } from '../../src/util/progress.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'

/**
 * The program is killed after each single write. Replaying the log of the image makes it sound, and
 * every file has the content of the last sync or of later writes, and nothing else.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const SIZE = 64 * 2 ** 20
const BLOCK = 1024

/**
 * A small image with small blocks, so that btrees are high; with a file of many extents, shared
 * with another.
 */
function before(): Device {
  const device = memoryDevice(SIZE)
  mkfs(device, { blocksize: BLOCK })
  const volume = Volume.open(device, { write: true })
  const many = createFile(volume, '/many', 0o644).ino
  for (let i = 0; i < 300; i++) writeFile(volume, many, i * 2 * BLOCK, new Uint8Array(BLOCK).fill(i))
  const twin = createFile(volume, '/twin', 0o644).ino
  finish(reflink(volume, many, twin, { srcOffset: 0, dstOffset: 0, length: 0 }))
  const same = createFile(volume, '/same', 0o644).ino
  writeFile(volume, same, 0, readFile(openInode(volume, many)))
  mkdir(volume, '/folder', 0o755)
  for (let i = 0; i < 60; i++) createFile(volume, `/folder/a file with a name that takes room, number ${i}`, 0o600)
  volume.close()
  return device
}

const find = (volume: Volume, path: string): number => {
  const found = [...walkTree(rootDirectory(volume))].find((visit) => Buffer.from(visit.path).toString() === path)
  assert.ok(found, path)
  return found.inode.ino
}

const workloads: Readonly<Record<string, (volume: Volume) => void>> = {
  'copy on write': (volume) => {
    const ino = find(volume, 'many')
    for (let i = 0; i < 40; i++) writeFile(volume, ino, (i * 14 + 1) * BLOCK - 300, new Uint8Array(500).fill(0xaa))
  },
  unshare: (volume) => void finish(unshare(volume, find(volume, 'twin'), { offset: 0, length: 600 * BLOCK })),
  reflink: (volume) =>
    void finish(
      reflink(volume, find(volume, 'many'), createFile(volume, '/third', 0o644).ino, {
        srcOffset: 0,
        dstOffset: 0,
        length: 0,
      }),
    ),
  dedupe: (volume) =>
    void finish(
      dedupe(volume, find(volume, 'many'), find(volume, 'same'), { srcOffset: 0, dstOffset: 0, length: 599 * BLOCK }),
    ),
  namespace: (volume) => {
    for (let i = 0; i < 40; i++) createFile(volume, `/folder/one more file, number ${i}`, 0o600)
    for (let i = 0; i < 20; i++)
      rename(volume, `/folder/a file with a name that takes room, number ${i}`, `/renamed ${i}`)
    unlink(volume, '/twin')
    truncate(volume, find(volume, 'many'), 100 * BLOCK)
    fpunch(volume, find(volume, 'same'), 10 * BLOCK, 200 * BLOCK)
  },
}

/** Every file by its path, with its bytes. */
function contents(device: Device): Map<string, string> {
  const volume = Volume.open(device, { needsRepair: true })
  const files = new Map<string, string>()
  for (const { path, inode } of walkTree(rootDirectory(volume))) {
    files.set(
      Buffer.from(path).toString(),
      inode.isRegular ? Buffer.from(readFile(inode)).toString('latin1') : 'directory',
    )
  }
  return files
}

const geometryOf = (device: Device) => Volume.open(device).geometry
const findings = (device: Device): string[] =>
  check(device, geometryOf(device)).findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)

/**
 * Run a workload with a sync every few commits, and record it. The contents at each sync are those
 * that may be found later.
 */
function recorded(base: Device, work: (volume: Volume) => void) {
  const copy = deviceAfter(base, [], 0)
  const recorder = record(copy)
  const states: Map<string, string>[] = [contents(base)]
  let commits = 0
  const volume = Volume.open(recorder, {
    write: true,
    committer: (parts) => {
      const inner = loggedCommits(parts)
      return {
        capacity: inner.capacity,
        makeRoom: (changes, items) => inner.makeRoom(changes, items),
        commit(changes, items) {
          inner.commit(changes, items)
          if (++commits % 7 === 0) inner.sync()
        },
        sync: () => inner.sync(),
        finish: () => inner.finish(),
      }
    },
  })
  work(volume)
  volume.close()
  return { events: recorder.events, states, end: contents(copy) }
}

for (const [name, work] of Object.entries(workloads)) {
  test(`${name}, killed after any write: replayed, the image is sound and no file is torn`, () => {
    const base = before()
    const { events, end } = recorded(base, work)
    const start = contents(base)
    const step = LONG ? 1 : Math.max(1, Math.floor(events.length / 120))
    for (let n = 0; n <= events.length; n += step) {
      const device = deviceAfter(base, events, n)
      const label = `after ${n} of ${events.length} events`
      assert.equal(recover(device).refused, undefined, label)
      assert.ok(logState(Volume.open(device)).clean, label)
      assert.deepEqual(findings(device), [], label)
      assertNotTorn(contents(device), start, end, label)
    }
  })
}

/**
 * A file that is equal at the start and at the end must be unchanged. Others consist of blocks of
 * one of the two.
 */
function assertNotTorn(
  found: Map<string, string>,
  start: Map<string, string>,
  end: Map<string, string>,
  label: string,
): void {
  for (const [path, was] of start) {
    const is = end.get(path)
    if (was !== is) continue
    assert.equal(found.get(path), was, `${label}: ${path}`)
  }
  for (const [path, content] of found) {
    const [was, is] = [start.get(path) ?? '', end.get(path) ?? '']
    for (let at = 0; at < content.length; at += BLOCK) {
      const block = content.slice(at, at + BLOCK)
      const known = [was, is].some((text) => text.slice(at, at + BLOCK) === block || text.length <= at)
      assert.ok(
        known || isMixed(block, was.slice(at, at + BLOCK), is.slice(at, at + BLOCK)),
        `${label}: ${path} at ${at}`,
      )
    }
  }
}

/** A block that was written twice between syncs may have only the first write. */
const isMixed = (block: string, was: string, is: string): boolean =>
  [...block].every((char, i) => char === was[i] || char === is[i])

test('the kernel replays what xfskit logged', { skip: skip.kernel || skip.newest }, () => {
  const base = before()
  for (const [name, work] of Object.entries(workloads)) {
    const { events } = recorded(base, work)
    const places = LONG ? 40 : 4
    for (let i = 1; i <= places; i++) {
      const n = Math.floor((events.length * i) / (places + 1))
      withTempDir((folder) => {
        const image = join(folder, 'image')
        const device = deviceAfter(base, events, n)
        const bytes = new Uint8Array(SIZE)
        device.read(bytes, 0)
        writeFileSync(image, bytes)
        try {
          mountImage(image, () => {})
          judge(image, { kernel: true })
        } catch (error) {
          throw new Error(`${name}: after ${n} of ${events.length} events: ${(error as Error).message}`, {
            cause: error,
          })
        }
      })
    }
  }
})
