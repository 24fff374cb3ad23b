import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ACL_TAGS, aclToProgram } from '../../src/attr/acl.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { copyDevice, createFile } from '../../src/device/file.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { FILE_TYPES } from '../../src/format/dinode.ts'
import { Superblock } from '../../src/format/sb.ts'
import { Volume } from '../../src/volume.ts'
import { makeImage, newest, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import { outcome, type Twin } from './twin.ts'
import { ourTwin } from './twin-ours.ts'

/**
 * No space left, on a small image: with a few free blocks, with none, and with space running out at
 * the n-th allocation of an operation. Every kind of operation is done or refused completely. If
 * refused, the tree with all times and mappings is unchanged, and so are the counters. Our check
 * and xfs_repair find no problems. The same without free inodes.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const SPARE = LONG ? [0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 25, 40, 80, 160] : [0, 2, 9, 40]
const PAST = 1_000_000_000_123_456_789n
const long = (text: string): string => text.padEnd(250, 'n')

/** Files and directories of every format. Most of them need a block next. */
function prepare(twin: Twin, block: number): void {
  for (const [dir, count, length] of [
    ['short', 2, 60],
    ['block', 8, 200],
    ['leaf', 40, 200],
    ['node', 700, 100],
    ['many', 30, 20],
    ['empty', 0, 0],
  ] as const) {
    twin.mkdir(dir, 0o755)
    for (let i = 0; i < count; i++) {
      const name = `${dir}/${`${i}_`.padEnd(length, 'x')}`
      if (i === 0) twin.create(name, 0o644)
      else twin.link(`${dir}/${'0_'.padEnd(length, 'x')}`, name)
    }
  }
  for (let i = 0; i < 12; i++) twin.create(`file${i}`, 0o644)
  const bytes = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)
  twin.write('file0', 0, bytes(40 * block, 7))
  // The next extent converts it to btree format.
  for (let i = 0; i < 30; i++) twin.write('file1', 2 * i * block, bytes(block, i))
  twin.clone('file0', 'file2', { srcOffset: 0, dstOffset: 0, length: 0 })
  twin.write('file3', 0, bytes(40 * block, 7))
  twin.clone('file1', 'file4', { srcOffset: 0, dstOffset: 0, length: 0 })
  twin.allocate('file5', 'alloc', 0, 60 * block)
  twin.write('file6', 0, bytes(block + 100, 3))
  for (let i = 0; i < 6; i++) twin.setXattr('file7', `user.${i}`, bytes(30, i), 'any')
  for (let i = 0; i < 30; i++) twin.setXattr('file8', `user.${i}`, bytes(100, i), 'any')
  twin.setXattr('file9', 'user.remote', bytes(20000, 1), 'any')
  twin.write('file10', 0, bytes(10 * block, 1))
  twin.create('filler', 0o600)
  twin.symlink('t'.repeat(300), 'link')
  for (const path of ['file0', 'file1', 'file2', 'file3', 'file4', 'file5', 'file6', 'file7', 'file8', 'file9', 'file10', 'file11', 'short', 'block', 'leaf', 'node', 'many', 'empty', '']) {
    twin.setTimes(path, PAST, PAST)
  } // biome-ignore format: a list
}

const acl = (count: number): Uint8Array =>
  aclToProgram([
    { tag: ACL_TAGS.userObj, id: -1, perm: 6 },
    ...Array.from({ length: count }, (_, i) => ({ tag: ACL_TAGS.user, id: 1000 + i, perm: 4 })),
    { tag: ACL_TAGS.groupObj, id: -1, perm: 4 },
    { tag: ACL_TAGS.mask, id: -1, perm: 4 },
    { tag: ACL_TAGS.other, id: -1, perm: 0 },
  ])

type Operation = (twin: Twin, block: number) => unknown

const operations: Readonly<Record<string, Operation>> = {
  'create in shortform': (twin) => twin.create(`short/${long('new')}`, 0o644),
  'create in block form': (twin) => twin.create(`block/${long('new')}`, 0o644),
  'create in leaf form': (twin) => twin.create(`leaf/${long('new')}`, 0o644),
  'create in node form': (twin) => twin.create(`node/${long('new')}`, 0o644),
  mkdir: (twin) => twin.mkdir(`leaf/${long('new')}`, 0o755),
  'symlink, remote': (twin) => twin.symlink('x'.repeat(1000), `block/${long('new')}`),
  mknod: (twin) => twin.mknod(`short/${long('new')}`, FILE_TYPES.chr | 0o600, { major: 1, minor: 2 }),
  link: (twin) => twin.link('file8', `block/${long('new')}`),
  'link of a file with many': (twin) => twin.link(`node/${'5_'.padEnd(100, 'x')}`, `leaf/${long('new')}`),
  'rename within': (twin) => twin.rename(`leaf/${'3_'.padEnd(200, 'x')}`, `leaf/${long('new')}`, 'replace'),
  'rename across': (twin) => twin.rename('file8', `block/${long('new')}`, 'replace'),
  'rename over': (twin) => twin.rename('file8', `leaf/${'3_'.padEnd(200, 'x')}`, 'replace'),
  'rename a directory': (twin) => twin.rename('node', `block/${long('new')}`, 'replace'),
  exchange: (twin) => twin.rename('file7', `leaf/${'3_'.padEnd(200, 'x')}`, 'exchange'),
  unlink: (twin) => twin.unlink(`leaf/${'5_'.padEnd(200, 'x')}`),
  'unlink a shared file': (twin) => twin.unlink('file4'),
  rmdir: (twin) => twin.rmdir('empty'),
  'write into a hole': (twin, block) => twin.write('file11', 5 * block + 3, new Uint8Array(9 * block)),
  'write at the end': (twin, block) => twin.write('file6', block + 100, new Uint8Array(20 * block)),
  'write into holes between': (twin, block) => twin.write('file1', 0, new Uint8Array(60 * block)),
  'write into shared blocks': (twin, block) => twin.write('file2', 3 * block + 5, new Uint8Array(20 * block)),
  'write one byte into a shared block': (twin, block) => twin.write('file4', 10 * block + 5, new Uint8Array(1)),
  'write into unwritten blocks': (twin, block) => twin.write('file5', 11 * block, new Uint8Array(block)),
  'truncate within a shared block': (twin, block) => twin.truncate('file2', 10 * block + 5),
  'truncate to a block': (twin, block) => twin.truncate('file2', 10 * block),
  'truncate to more': (twin, block) => twin.truncate('file6', 100 * block + 5),
  alloc: (twin, block) => twin.allocate('file1', 'alloc', 0, 60 * block),
  allocKeep: (twin, block) => twin.allocate('file6', 'allocKeep', 10 * block, 60 * block),
  'punch within shared blocks': (twin, block) => twin.allocate('file2', 'punch', 10 * block + 5, 3 * block),
  'punch that splits': (twin, block) => twin.allocate('file3', 'punch', 10 * block, block),
  zero: (twin, block) => twin.allocate('file1', 'zero', block, 50 * block),
  'zero within shared blocks': (twin, block) => twin.allocate('file2', 'zero', 10 * block + 5, 7 * block),
  collapse: (twin, block) => twin.allocate('file4', 'collapse', 3 * block, 2 * block),
  insert: (twin, block) => twin.allocate('file4', 'insert', 10 * block, 2 * block),
  unshare: (twin, block) => twin.allocate('file2', 'unshare', 0, 40 * block),
  'clone over': (twin) => twin.clone('file1', 'file3', { srcOffset: 0, dstOffset: 0, length: 0 }),
  'clone into a new file': (twin) => twin.clone('file1', 'file11', { srcOffset: 0, dstOffset: 0, length: 0 }),
  dedupe: (twin, block) => twin.dedupe('file0', 'file3', { srcOffset: 0, dstOffset: 0, length: 40 * block }),
  chmod: (twin) => twin.chmod('file7', 0o600),
  chown: (twin) => twin.chown('file7', 7, 8),
  times: (twin) => twin.setTimes('file7', 5n, 6n),
  flags: (twin) => twin.attributes('file7', { set: 'd', projid: 9 }),
  extsize: (twin, block) => twin.attributes('file11', { extsize: 4 * block }),
  'a short attribute': (twin) => twin.setXattr('file7', 'user.more', new Uint8Array(200), 'any'),
  'attributes of many files': (twin) => twin.setXattr('file8', `user.${'n'.repeat(200)}`, new Uint8Array(600), 'any'),
  'a remote attribute': (twin) => twin.setXattr('file8', 'user.large', new Uint8Array(65536), 'any'),
  'replace a remote attribute': (twin) => twin.setXattr('file9', 'user.remote', new Uint8Array(40000), 'any'),
  'remove an attribute': (twin) => twin.removeXattr('file8', 'user.3'),
  'remove a remote attribute': (twin) => twin.removeXattr('file9', 'user.remote'),
  'an access control list': (twin) => twin.setXattr('file7', 'system.posix_acl_access', acl(20), 'any'),
  'a large access control list': (twin) => twin.setXattr('file11', 'system.posix_acl_access', acl(200), 'any'),
  'a default list': (twin) => twin.setXattr('short', 'system.posix_acl_default', acl(40), 'any'),
} // biome-ignore format: a table

const ALWAYS = /^(unlink|rmdir|remove|chmod|chown|times|flags|extsize|truncate to a block|truncate to more)/

/** Operations of several transactions. */
const SEVERAL = /write|truncate|alloc|punch|zero|collapse|insert|unshare|clone|dedupe/

// ----------------------------------------------------------------------------------------- judging

/** Everything that must not change. */
function state(volume: Volume): string[] {
  const view = volume.superblock().view
  const counters = (['fdblocks', 'icount', 'ifree'] as const).map(
    (name) => `${name} ${Superblock.fields[name].get(view, 0)}`,
  )
  return [...counters, ...ourTwin(volume).manifest()]
}

function assertSound(device: Device, what: string): void {
  const { list } = check(device, Volume.open(device).geometry).findings
  assert.deepEqual(
    list.slice(0, 10).map((finding) => `${finding.id}: ${describe(finding)}`),
    [],
    what,
  )
}

/** xfs_repair finds no problems, if it is installed. */
function assertRepairContent(device: Device, folder: string, what: string): void {
  if (skip.newest) {
    assertSound(device, what)
    return
  }
  const file = join(folder, 'copy')
  const copy = createFile(file, device.size)
  copyDevice(device, copy)
  copy.close()
  // xfs_repair refuses images with one AG.
  const { status, stdout, stderr } = spawnSync(newest.repair, ['-n', '-f', '-o', 'force_geometry', file], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, `${what}: ${stdout}${stderr}`)
}

function assertSame(now: readonly string[], before: readonly string[], what: string): void {
  const [a, b] = [new Set(now), new Set(before)]
  const lines = [
    ...now.filter((line) => !b.has(line)).map((line) => `now    ${line}`),
    ...before.filter((line) => !a.has(line)).map((line) => `before ${line}`),
  ]
  assert.equal(lines.length, 0, `${what}: refused, but something changed\n${lines.slice(0, 20).join('\n')}`)
}

/** Allocate all blocks that are free for users. @returns the size of the filler */
function fill(twin: Twin, block: number): number {
  let size = 0
  for (let step = 4096 * block; step >= block; ) {
    const result = outcome(() => twin.allocate('filler', 'alloc', size, step))
    assert.ok(result === 'ok' || result === 'ENOSPC', result)
    if (result === 'ok') size += step
    else step /= 2
  }
  return size
}

const forms = [
  { name: 'defaults', block: 4096, args: [], size: '24m' },
  { name: '1k blocks', block: 1024, args: ['-b', 'size=1k'], size: '20m' },
  {
    name: '1k blocks, no rmapbt, no parent',
    block: 1024,
    args: ['-b', 'size=1k', '-m', 'rmapbt=0', '-n', 'parent=0'],
    size: '20m',
  },
] as const

/** A prepared image, in memory. */
function prepared(
  folder: string,
  { block, args, size }: { block: number; args: readonly string[]; size: string },
): Device {
  const image = join(folder, 'image')
  makeImage(image, size, args)
  const content = readFileSync(image)
  const device = memoryDevice(content.length, content)
  const volume = Volume.open(device, { write: true })
  prepare(ourTwin(volume), block)
  volume.sync()
  return device
}

for (const form of forms) {
  const { name: label, block } = form
  test(`on a full image an operation is done or refused completely: ${label}`, (t) => {
    withTempDir((folder) => {
      const base = prepared(folder, form)
      const filling = Volume.open(base, { write: true })
      const size = fill(ourTwin(filling), block)
      filling.sync()
      let refused = 0
      let done = 0
      for (const spare of SPARE) {
        const layer = overlay(base)
        const first = Volume.open(layer, { write: true })
        if (spare > 0) ourTwin(first).truncate('filler', size - spare * block)
        ourTwin(first).setTimes('filler', PAST, PAST)
        first.sync()
        const before = state(first)
        for (const [name, operation] of Object.entries(operations)) {
          const what = `${name} with ${spare} blocks`
          const device = overlay(layer)
          const volume = Volume.open(device, { write: true })
          const result = outcome(() => void operation(ourTwin(volume), block))
          assert.ok(result === 'ok' || result === 'ENOSPC', `${what}: ${result}`)
          if (result === 'ok') done++
          else {
            refused++
            assert.ok(!ALWAYS.test(name), `${what}: is always possible`)
            assertSame(state(volume), before, what)
          }
          volume.sync()
          assertSound(device, what)
          if (LONG || (done + refused) % 16 === 0) assertRepairContent(device, folder, what)
        }
      }
      t.diagnostic(`${done} done, ${refused} refused`)
      assert.ok(refused > 30 && done > 30)
    })
  })
}

for (const form of LONG ? forms : forms.slice(1, 2)) {
  const { name: label, block } = form
  test(`space runs out at every allocation: ${label}`, (t) => {
    withTempDir((folder) => {
      const base = prepared(folder, form)
      const before = state(Volume.open(overlay(base), { write: true }))
      let points = 0
      for (const [name, operation] of Object.entries(operations)) {
        for (let at = 1, reached = true; reached; at++) {
          let count = 0
          const device = overlay(base)
          const beforeAllocation = (): void => {
            if (++count >= at) throw new XfsError('NOSPC', 'injected')
          }
          const volume = Volume.open(device, { write: true, beforeAllocation })
          const result = outcome(() => void operation(ourTwin(volume), block))
          reached = count >= at
          if (!reached) break
          points++
          const what = `${name}, allocation ${at}`
          assert.ok(result === 'ok' || result === 'ENOSPC', `${what}: ${result}`)
          // One transaction is done completely or undone. An operation of several counts the blocks
          // that it needs first and does not expect this failure. It stops at an extent.
          if (result !== 'ok' && !SEVERAL.test(name)) assertSame(state(volume), before, what)
          volume.sync()
          assertSound(device, what)
          if (points % 10 === 0) assertRepairContent(device, folder, what)
          if (at > 60 && !LONG) break
        }
      }
      t.diagnostic(`${points} points`)
      assert.ok(points > 50)
    })
  })
}

test('no inode left: operations that need one are refused, others succeed', () => {
  withTempDir((folder) => {
    const base = prepared(folder, { block: 1024, args: ['-b', 'size=1k', '-i', 'maxpct=2'], size: '20m' })
    const full = Volume.open(base, { write: true })
    let result = 'ok'
    for (let i = 0; result === 'ok'; i++) result = outcome(() => ourTwin(full).create(`many/inode${i}`, 0o644))
    assert.equal(result, 'ENOSPC')
    ourTwin(full).setTimes('many', PAST, PAST)
    full.sync()
    const before = state(full)
    const needs = /^(create|mkdir|symlink|mknod)/
    for (const [name, operation] of Object.entries(operations)) {
      const device = overlay(base)
      const volume = Volume.open(device, { write: true })
      const came = outcome(() => void operation(ourTwin(volume), 1024))
      assert.equal(came, needs.test(name) ? 'ENOSPC' : 'ok', name)
      if (came !== 'ok') assertSame(state(volume), before, name)
      volume.sync()
      assertSound(device, name)
    }
    assertRepairContent(base, folder, 'full of inodes')
  })
})
