import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { type Overlay, overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { XfsError } from '../../src/errors.ts'
import { openInode } from '../../src/inode/inode.ts'
import { recover } from '../../src/recovery/recover.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { newest, repairComplaints, skip } from '../support/oracles.ts'
import { withTempDir } from '../support/temp.ts'
import {
  damage,
  type FileState,
  filesOf,
  inodePlace,
  type Place,
  placesIn,
  type Verb,
  type Victim,
  verbs,
  victimOf,
} from './victims.ts'

/**
 * Inodes, directories, attributes and links: what is lost of them is the smallest piece, and the
 * rest has its name and its content.
 */

const LONG = process.env['XFSKIT_LONG'] === '1'
/** In a short run one case of this number, in a long run of that one. */
const STRIDE = LONG ? Number(process.env['XFSKIT_STRIDE'] ?? 83) : 797

const sentences = (device: Device): string[] => check(device, Volume.open(device).geometry).findings.list.map(describe)

function bytesOf(device: Device): Uint8Array {
  const bytes = new Uint8Array(device.size)
  device.read(bytes, 0)
  return bytes
}

/** Our check, xfs_repair and the kernel find nothing. */
function judgeDevice(device: Device): void {
  withTempDir((folder) => {
    const image = join(folder, 'image')
    writeFileSync(image, bytesOf(device))
    judge(image, { kernel: true })
  })
}

const inoOf = (victim: Victim, path: string): number => (victim.files.get(path) as FileState).ino

/** Overwrite an inode with zeros. */
function zeroInode(victim: Victim, ino: number): Overlay {
  const device = overlay(victim.device)
  const { position, length } = inodePlace(victim.geometry, ino)
  device.write(new Uint8Array(length), position)
  return device
}

/** Paths of files whose name, number or content differs. */
const changed = (victim: Victim, device: Device): string[] => {
  const now = filesOf(device)
  return [...new Set([...victim.files.keys(), ...now.keys()])].filter((path) => {
    const [a, b] = [victim.files.get(path), now.get(path)]
    return a?.ino !== b?.ino || a?.content !== b?.content
  })
}

for (const kind of ['default', 'no rmapbt', 'parents']) {
  test(`a file whose inode is zeros is lost, with its entries, and nothing else: ${kind}`, () => {
    const victim = victimOf(kind)
    const device = zeroInode(victim, inoOf(victim, '/dir1/file 5'))
    assert.equal(repair(device).changed, true)
    assert.deepEqual([sentences(device), changed(victim, device)], [[], ['/dir1/file 5']])
    judgeDevice(device)
  })
}

test('a directory whose inode is zeros: with parent pointers its files stay together, in lost+found', () => {
  for (const kind of ['default', 'parents']) {
    const victim = victimOf(kind)
    const device = zeroInode(victim, inoOf(victim, '/dir1'))
    repair(device)
    assert.deepEqual(sentences(device), [])
    const files = new Map([...filesOf(device).values()].map(({ ino, content }) => [ino, content]))
    const lost = [...victim.files].filter(([, { ino, content }]) => files.get(ino) !== content).map(([path]) => path)
    assert.deepEqual(lost, ['/dir1'])
    judgeDevice(device)
  }
})

test('a lost root directory is made anew; with parent pointers all files have their names', () => {
  for (const kind of ['default', 'no rmapbt', 'parents']) {
    const victim = victimOf(kind)
    const device = zeroInode(victim, victim.geometry.sb.rootino)
    repair(device)
    assert.deepEqual(sentences(device), [], kind)
    const now = filesOf(device)
    if (kind === 'parents') assert.deepEqual(changed(victim, device), [])
    for (const [path, { ino, content }] of victim.files) {
      const there = [...now].find(([, file]) => file.ino === ino)
      assert.equal(there?.[1].content, content, `${kind}: ${path}`)
    }
    judgeDevice(device)
  }
})

test('a link count of zero is set, also if that of a directory', () => {
  const victim = victimOf('default')
  for (const path of ['/plain', '/dir0', '/']) {
    const device = overlay(victim.device)
    const place = placesIn(victim).find(({ what }) => what === `inode of ${path}.nlink`) as Place
    damage(device, place, 'zero', true)
    repair(device)
    assert.deepEqual([sentences(device), changed(victim, device)], [[], []], path)
  }
})

test('inodes that cannot be read stay on request', () => {
  const victim = victimOf('default')
  const device = zeroInode(victim, inoOf(victim, '/dir1/file 5'))
  const { changed: written, after } = repair(device, { keepUnreadable: true })
  assert.deepEqual([written, after.facts.isWrong], [false, true])
})

test('a repair of names that is stopped at any write is finished by the next', { timeout: 0 }, () => {
  const victim = victimOf('parents')
  const places = placesIn(victim)
  const leaf = inoOf(victim, '/leaf')
  const damages: ((device: Device) => void)[] = [
    (device) =>
      damage(device, places.find(({ what }) => what === `directory block of inode ${leaf}.+64`) as Place, 'ones', true),
    (device) => damage(device, places.find(({ what }) => what === 'inode of /plain.nlink') as Place, 'plus 1', true),
    (device) => {
      const { position, length } = inodePlace(victim.geometry, inoOf(victim, '/dir1/file 5'))
      device.write(new Uint8Array(length), position)
    },
  ]
  for (const [i, hurt] of damages.entries()) {
    const base = overlay(victim.device)
    hurt(base)
    const recorder = record(overlay(base))
    assert.equal(repair(recorder).changed, true)
    const { events } = recorder
    const step = LONG ? 1 : Math.max(1, Math.ceil(events.length / 12))
    for (let count = 0; count <= events.length; count += step) {
      const device = deviceAfter(base, events, count)
      recover(device)
      repair(device)
      const what = `damage ${i}: ${count} of ${events.length} writes`
      assert.deepEqual(sentences(device), [], what)
      const files = new Map([...filesOf(device).values()].map(({ ino, content }) => [ino, content]))
      const lost = [...victim.files].filter(([, { ino, content }]) => files.get(ino) !== content)
      assert.deepEqual(
        lost.map(([path]) => path),
        i === 2 ? ['/dir1/file 5'] : [],
        what,
      )
    }
  }
})

interface Outcome {
  readonly sound: boolean
  /** Files without their content, except the one that was damaged. */
  readonly lost: readonly string[]
  /** The damaged file has its content. */
  readonly kept: boolean
}

function outcomeOf(victim: Victim, device: Device, hurt: number | undefined): Outcome {
  let files: Map<number, string>
  try {
    if (check(device, Volume.open(device).geometry).facts.isWrong) return { sound: false, lost: [], kept: false }
    files = new Map([...filesOf(device).values()].map(({ ino, content }) => [ino, content]))
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    return { sound: false, lost: [], kept: false }
  }
  const missing = [...victim.files].filter(([, { ino, content }]) => files.get(ino) !== content)
  return {
    sound: true,
    lost: missing.filter(([, { ino }]) => ino !== hurt).map(([path]) => path),
    kept: missing.every(([, { ino }]) => ino !== hurt),
  }
}

/** The same damage, repaired by xfs_repair. */
function byXfsRepair(victim: Victim, damaged: Device, hurt: number | undefined): Outcome {
  return withTempDir((folder) => {
    const image = join(folder, 'image')
    writeFileSync(image, bytesOf(damaged))
    try {
      execFileSync(newest.repair, ['-f', image], { stdio: 'ignore' })
    } catch {
      return { sound: false, lost: [], kept: false }
    }
    if (repairComplaints(image) !== undefined) return { sound: false, lost: [], kept: false }
    const device = memoryDevice(damaged.size)
    device.write(execFileSync('cat', [image], { maxBuffer: 2 ** 30 }), 0)
    return outcomeOf(victim, device, hurt)
  })
}

for (const kind of ['default', 'parents']) {
  test(`one wrong field of an inode, a directory or attributes costs nothing of other files: ${kind}`, {
    timeout: 0,
  }, (t) => {
    const victim = victimOf(kind)
    const places = placesIn(victim).filter(({ what }) => /^inode of|^directory|^attribute|^symlink|^bmbt/.test(what))
    const cases = places.flatMap((place) =>
      (Object.keys(verbs) as Verb[]).flatMap((verb) => [true, false].map((withCrc) => ({ place, verb, withCrc }))),
    )
    const ours = { seen: 0, sound: 0, hurt: 0 }
    const theirs = { sound: 0, hurt: 0, others: 0 }
    const failures: string[] = []
    for (let i = 0; i < cases.length; i += STRIDE) {
      const { place, verb, withCrc } = cases[i] as (typeof cases)[0]
      const device = overlay(victim.device)
      if (!damage(device, place, verb, withCrc)) continue
      const damaged = overlay(victim.device)
      damage(damaged, place, verb, withCrc)
      const what = `${place.what}: ${verb}${withCrc ? '' : ', checksum wrong'}`
      const { before } = repair(device)
      if (!before.facts.isWrong) continue
      ours.seen++
      const { sound, lost, kept } = outcomeOf(victim, device, place.ino)
      if (sound) ours.sound++
      if (sound && !kept) ours.hurt++
      if (lost.length > 0) failures.push(`${what}: ${lost.join(' ')}`)
      if (!LONG || skip.newest !== false) continue
      if (!sound) t.diagnostic(`not repaired: ${what}`)
      else {
        withTempDir((folder) => {
          const image = join(folder, 'image')
          writeFileSync(image, bytesOf(device))
          const complaint = repairComplaints(image)
          if (complaint !== undefined) failures.push(`${what}: xfs_repair: ${complaint}`)
        })
      }
      const other = byXfsRepair(victim, damaged, place.ino)
      if (other.sound) theirs.sound++
      if (other.sound && !other.kept) theirs.hurt++
      if (other.lost.length > 0) theirs.others++
    }
    t.diagnostic(`ours: ${JSON.stringify(ours)}${LONG ? `, xfs_repair: ${JSON.stringify(theirs)}` : ''}`)
    assert.deepEqual(failures, [])
    assert.ok(ours.sound >= 0.9 * ours.seen, JSON.stringify(ours))
  })
}

test('an inode that was cleared is free', () => {
  const victim = victimOf('default')
  const ino = inoOf(victim, '/dir1/file 5')
  const device = zeroInode(victim, ino)
  repair(device)
  assert.throws(() => openInode(Volume.open(device), ino), { code: 'NOENT' })
})
