import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bmbt, readBmbt } from '../../src/btree/trees/bmbt.ts'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { type Overlay, overlay } from '../../src/device/overlay.ts'
import { deviceAfter, record } from '../../src/device/record.ts'
import { type RepairResult, repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { judge } from '../support/judge.ts'
import { withTempDir } from '../support/temp.ts'
import {
  damage,
  edit,
  filesOf,
  givenAway,
  type Place,
  placesIn,
  type Verb,
  type Victim,
  verbs,
  victimOf,
} from './victims.ts'

/**
 * Wrong extents are restored from the records of other structures for their blocks, or the image is
 * not changed.
 */

const LONG = process.env['XFSKIT_LONG'] === '1'
/** In a short run one of eleven mutants. */
const STRIDE = LONG ? 1 : 11

const findings = (device: Device): string[] => check(device, Volume.open(device).geometry).findings.list.map(describe)

function find(victim: Victim, what: string): Place {
  const place = placesIn(victim).find((one) => one.what === what)
  assert.ok(place, what)
  return place
}

/** Files whose content has changed. */
function changedFiles(device: Device, victim: Victim): string[] {
  const now = filesOf(device)
  return [...victim.files].filter(([path, { content }]) => now.get(path)?.content !== content).map(([path]) => path)
}

function damaged(victim: Victim, what: string, verb: Verb): Overlay {
  const device = overlay(victim.device)
  assert.ok(damage(device, find(victim, what), verb, true), what)
  return device
}

const forksOf = ({ plans }: RepairResult) => plans.flatMap(({ forks }) => forks)

for (const kind of ['default', '1k']) {
  test(`with rmapbt an extent whose start block or length is wrong is as it was: ${kind}`, { timeout: 0 }, () => {
    const victim = victimOf(kind)
    const places = placesIn(victim).filter(({ what }) =>
      /(bmx|bmbt block\.recs)\[\d+\]\.(startblock|blockcount)$/.test(what),
    )
    const cases = places
      .filter(({ what }) => !/inode of r/.test(what))
      .flatMap((place) => (Object.keys(verbs) as Verb[]).map((verb) => ({ place, verb })))
    let tried = 0
    for (let i = 0; i < cases.length; i += STRIDE) {
      const { place, verb } = cases[i] as (typeof cases)[0]
      const device = overlay(victim.device)
      if (!damage(device, place, verb, true)) continue
      tried++
      const result = repair(device)
      const what = `${place.what}: ${verb}`
      assert.deepEqual(findings(device), [], what)
      assert.deepEqual(changedFiles(device, victim), [], what)
      const [patch] = forksOf(result)
      assert.ok(patch && patch.restored.length > 0 && patch.cut.length === 0, what)
    }
    assert.ok(tried > 20, String(tried))
  })
}

test('an extent that was restored: xfs_repair finds nothing', () => {
  const victim = victimOf('default')
  for (const [what, verb] of [
    ['inode of /plain.u3.bmx[0].startblock', 'ones'],
    ['bmbt block.recs[30].blockcount', 'zero'],
  ] as const) {
    const device = damaged(victim, what, verb)
    assert.equal(repair(device).changed, true)
    withTempDir((folder) => {
      const bytes = new Uint8Array(device.size)
      device.read(bytes, 0)
      writeFileSync(join(folder, 'image'), bytes)
      judge(join(folder, 'image'))
    })
  }
})

test('counts of extents and blocks that contradict rmapbt are corrected', () => {
  const victim = victimOf('default')
  for (const what of ['inode of /plain.nblocks', 'inode of /many.nblocks', 'inode of /dir0/file 3.nblocks']) {
    const device = damaged(victim, what, 'plus 1')
    assert.equal(repair(device).changed, true, what)
    assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []], what)
  }
})

test('without rmapbt a count of blocks is set where nothing else is wrong, a count of extents where the count of blocks confirms it', () => {
  const victim = victimOf('no rmapbt')
  for (const what of ['inode of /plain.nblocks', 'inode of /many.nblocks', 'inode of /dir0.nblocks'])
    for (const verb of ['plus 1', 'zero', 'ones'] as const) {
      const device = damaged(victim, what, verb)
      assert.equal(repair(device).changed, true, what)
      assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []], `${what}: ${verb}`)
    }
  for (const what of ['inode of /twin.big_nextents', 'inode of /dir0/file 3.big_nextents']) {
    const device = damaged(victim, what, 'minus 1')
    assert.equal(repair(device).changed, true, what)
    assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []], what)
  }
})

test('without rmapbt an extent gets the only blocks in use that have no owner', () => {
  const victim = victimOf('no rmapbt')
  for (const what of ['inode of /dir0/file 3.u3.bmx[0].startblock', 'inode of /dir0.u3.bmx[0].startblock']) {
    const device = damaged(victim, what, 'ones')
    const [patch] = forksOf(repair(device))
    assert.deepEqual([patch?.from, patch?.cut], ['bnobt', []], what)
    assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []], what)
  }
})

test('without rmapbt an extent whose blocks have another owner is cut; no other file changes, and no block becomes free', () => {
  const victim = victimOf('no rmapbt')
  const device = damaged(victim, 'inode of /twin.u3.bmx[0].startblock', 'ones')
  const [patch] = forksOf(repair(device))
  assert.deepEqual([patch?.restored, patch?.cut.length], [[], 1])
  assert.deepEqual([findings(device), changedFiles(device, victim)], [[], ['/twin']])
  assert.deepEqual(
    givenAway(device, victim).filter((text) => !text.includes(`inode ${patch?.ino} `)),
    [],
  )
})

test('no extent is cut while blocks in use have no owner', () => {
  const victim = victimOf('no rmapbt')
  const device = damaged(victim, 'inode of /dir0/file 3.u3.bmx[0].startblock', 'plus 1')
  for (const partial of [false, true]) assert.equal(repair(device, { partial }).changed, false)
})

test('two extents of different files, one of them with no way back: nothing is cut', () => {
  const victim = victimOf('no rmapbt')
  const device = damaged(victim, 'inode of /twin.u3.bmx[0].startblock', 'ones')
  damage(device, find(victim, 'inode of /dir0/file 3.u3.bmx[0].blockcount'), 'minus 1', true)
  assert.equal(repair(device, { partial: true }).changed, false)
})

test('an extent with the blocks of another file does not become a shared one', () => {
  for (const kind of ['default', 'no rmapbt']) {
    const victim = victimOf(kind)
    const device = overlay(victim.device)
    const taken = find(victim, 'inode of /plain.u3.bmx[0].startblock')
    const { position, length, crc, at } = find(victim, 'inode of /dir0/file 3.u3.bmx[0].startblock')
    const other = new Uint8Array(16)
    device.read(other, taken.position + taken.at)
    edit(device, { position, length, crc }, (view) => {
      const record = readBmbt(view, at)
      bmbt.writeRec(view, at, { ...record, startblock: readBmbt(new DataView(other.buffer), 0).startblock })
    })
    const { changed } = repair(device, { partial: true })
    assert.equal(changed, kind === 'default')
    if (changed) assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []])
    else assert.ok(findings(device).length > 0)
  }
})

test('an extent of a directory at the wrong offset is restored, and rmapbt is not made to agree with it', () => {
  const victim = victimOf('default')
  for (const verb of ['ones', 'minus 1'] as const) {
    const device = damaged(victim, 'inode of /dir0.u3.bmx[0].startoff', verb)
    repair(device, { partial: true })
    assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []], verb)
  }
})

test('what else is wrong about an inode does not keep its extents from being restored', () => {
  const victim = victimOf('default')
  const device = damaged(victim, 'inode of /dir1/file 5.u3.bmx[0].startblock', 'ones')
  damage(device, find(victim, 'inode of /dir1/file 5.nlink'), 'plus 1', true)
  damage(device, find(victim, 'inode of /dir0/file 3.u3.bmx[0].startblock'), 'zero', true)
  const result = repair(device, { partial: true })
  assert.equal(forksOf(result).length, 2)
  assert.deepEqual([findings(device), changedFiles(device, victim)], [[], []])
})

test('a repair of extents that is stopped at any write is finished by the next', () => {
  const victim = victimOf('1k')
  for (const what of [
    'inode of /many.u3.bmx[0].startblock',
    'bmbt block.recs[30].startblock',
    'inode of /dir0.u3.bmx[0].blockcount',
  ]) {
    if (!placesIn(victim).some((place) => place.what === what)) continue
    const base = damaged(victim, what, 'ones')
    const recorder = record(overlay(base))
    repair(recorder)
    const { events } = recorder
    assert.ok(events.length > 0, what)
    for (let count = 0; count <= events.length; count++) {
      const device = deviceAfter(base, events, count)
      repair(device)
      assert.deepEqual(
        [findings(device), changedFiles(device, victim)],
        [[], []],
        `${what}: ${count} of ${events.length}`,
      )
    }
  }
})
