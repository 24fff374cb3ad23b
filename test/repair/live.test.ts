import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { ObservedTrees } from '../../src/check/observe/agtrees.ts'
import type { AgResult } from '../../src/check/result.ts'
import { type Overlay, overlay } from '../../src/device/overlay.ts'
import { XfsError } from '../../src/errors.ts'
import { type AgTreeName, btrees } from '../../src/format/trees.ts'
import { type RepairResult, repair } from '../../src/repair/repair.ts'
import { Column } from '../../src/util/columns.ts'
import { Volume } from '../../src/volume.ts'
import {
  damage,
  filesOf,
  fillUp,
  givenAway,
  images,
  type Place,
  placesIn,
  type Verb,
  type Victim,
  verbs,
  victimOf,
} from './victims.ts'

/**
 * With one wrong field, repair never frees a block of a file, nor an inode that the superblock or
 * an entry refers to. It repairs the damage, or declines. After a repair the image is filled
 * completely, and every file that was not damaged itself is compared.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'

/**
 * No live block is free, and no file changes when the free blocks are filled. `hurt`: the damaged
 * inode.
 */
function assertNothingLost(
  device: Overlay,
  victim: Victim,
  hurt: number | undefined,
  repaired: boolean,
  what: string,
): void {
  if (!repaired) {
    assert.deepEqual(givenAway(device, victim).slice(0, 5), [], what)
    return
  }
  const names = isDirectory(victim, hurt)
  fillUp(device)
  const files = filesOf(device)
  const contents = new Map([...files.values()].map(({ ino, content }) => [ino, content]))
  for (const [path, { ino, content }] of victim.files) {
    if (ino === hurt) continue
    assert.equal(contents.get(ino), content, `${what}: ${path} is another after new files were written`)
    // What is lost of a directory are names: the files are in lost+found.
    if (!names) assert.equal(files.get(path)?.ino, ino, `${what}: ${path} has another name`)
  }
  const { findings } = check(device, Volume.open(device).geometry)
  assert.deepEqual(findings.list.map(describe), [], `${what}: sound, also when it is full`)
}

/** Names of files that the damage can reach are lost with their directory. */
const isDirectory = (victim: Victim, ino: number | undefined): boolean =>
  ino === victim.geometry.sb.rootino ||
  [...victim.files.values()].some((file) => file.ino === ino && file.content === 'directory')

type Outcome = 'refused' | 'unseen' | 'declined' | 'repaired' | 'in part'

function tryDamage(victim: Victim, place: Place, verb: Verb, withCrc: boolean): Outcome | undefined {
  const what = `${place.what}: ${verb}${withCrc ? '' : ', checksum wrong'}`
  const device = overlay(victim.device)
  if (!damage(device, place, verb, withCrc)) return undefined
  let result: RepairResult
  try {
    result = repair(device, { partial: true })
  } catch (error) {
    assert.ok(error instanceof XfsError, `${what}: ${error instanceof Error ? error.stack : error}`)
    return 'refused'
  }
  const { after, before, changed, declined } = result
  const left = after.findings.total > 0
  assert.ok(!changed || left || declined.length === 0, what)
  if (changed) assertNothingLost(device, victim, place.ino, !left, what)
  return changed
    ? left
      ? 'in part'
      : 'repaired'
    : before.findings.total === 0 && declined.length === 0
      ? 'unseen'
      : 'declined'
}

/** In a short run one case of this number. */
const SAMPLE = 997
/** Maximum pairs in a short run. */
const PAIRS = 20
/** In a long run: minutes per image; by default all cases are run. */
const MINUTES = Number(process.env['XFSKIT_MINUTES'] ?? Number.POSITIVE_INFINITY)
const SEED = Number(process.env['XFSKIT_SEED'] ?? 0)
/** Maximum failures in the message. */
const SHOWN = 20

/** 0 … count − 1 in an order in which every prefix is spread evenly. */
function* spread(count: number): Generator<number> {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
  let step = Math.round(count * 0.618)
  while (gcd(step, count) !== 1) step++
  for (let i = 0, at = SEED % count; i < count; i++, at = (at + step) % count) yield at
}

for (const kind of Object.keys(images)) {
  test(`one wrong field loses nothing: ${kind}`, { timeout: 0 }, (t) => {
    const victim = victimOf(kind)
    const cases = placesIn(victim).flatMap((place) =>
      (Object.keys(verbs) as Verb[]).flatMap((verb) => [true, false].map((withCrc) => ({ place, verb, withCrc }))),
    )
    const counts: Partial<Record<Outcome, number>> = {}
    const failures: string[] = []
    const most = LONG ? cases.length : Math.ceil(cases.length / SAMPLE)
    const end = Date.now() + MINUTES * 60_000
    let run = 0
    for (const i of spread(cases.length)) {
      if (run === most || Date.now() > end) break
      run++
      const { place, verb, withCrc } = cases[i] as (typeof cases)[0]
      try {
        const outcome = tryDamage(victim, place, verb, withCrc)
        if (outcome !== undefined) counts[outcome] = (counts[outcome] ?? 0) + 1
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error))
      }
    }
    t.diagnostic(`${run} of ${cases.length} cases: ${JSON.stringify(counts)}, failed: ${failures.length}`)
    assert.deepEqual(failures.slice(0, SHOWN), [])
  })
}

/** The records of a tree. */
function recordsOf(trees: ObservedTrees, name: AgTreeName): number[][] {
  return Object.values(trees[name]?.records ?? {})
    .filter((column) => column instanceof Column)
    .map((column) => [...column.filled()])
}

/**
 * One inode cannot be read, and a field of another AG is wrong. Each tree that is repaired has its
 * old records. No live block becomes free, not even of that inode: when the inode is restored, the
 * rest can be repaired, and all files are as they were.
 */
function tryBoth(victim: Victim, unread: Place, place: Place, verb: Verb, withCrc: boolean): Outcome | undefined {
  const what = `${unread.what} unreadable, ${place.what}: ${verb}${withCrc ? '' : ', checksum wrong'}`
  const device = overlay(victim.device)
  if (!damage(device, place, verb, withCrc)) return undefined
  const inode = new Uint8Array(unread.length)
  device.read(inode, unread.position)
  device.write(new Uint8Array(unread.length), unread.position)
  let result: RepairResult
  try {
    result = repair(device, { partial: true, keepUnreadable: true })
  } catch (error) {
    assert.ok(error instanceof XfsError, `${what}: ${error instanceof Error ? error.stack : error}`)
    return 'refused'
  }
  assert.ok(result.declined.length > 0 && result.after.facts.isWrong, what)
  const plans = result.plans.flatMap(({ ags }) => ags)
  const proven = new Set(plans.filter(({ agf }) => agf).map(({ agno }) => agno))
  const owned = victim.owned.map((runs, agno) => (proven.has(agno) ? runs : []))
  assert.deepEqual(givenAway(device, { ...victim, owned }).slice(0, 5), [], what)
  const before = check(victim.device, victim.geometry).ags
  const after = check(device, victim.geometry).ags
  for (const { agno, trees, newAgfl } of plans) {
    for (const { name, records } of trees) {
      if (records === undefined || (newAgfl && btrees[name].space === 'agfl')) continue
      const [now, then] = [after, before].map((ags) => recordsOf((ags[agno] as AgResult).ag.trees, name))
      assert.deepEqual(now, then, `${what}: ${name} of AG ${agno}`)
    }
  }
  device.write(inode, unread.position)
  const left = check(device, victim.geometry).facts.isWrong
  if (!left && !result.changed) return 'unseen'
  if (left && repair(device).after.facts.isWrong) {
    const alone = overlay(victim.device)
    damage(alone, place, verb, withCrc)
    assert.ok(repair(alone).after.facts.isWrong, `${what}: that field alone can be repaired`)
    return result.changed ? 'in part' : 'declined'
  }
  assertNothingLost(device, victim, undefined, true, what)
  return !result.changed ? 'declined' : left ? 'in part' : 'repaired'
}

const UNREAD = ['/', '/plain', '/many', '/dir0', '/leaf', '/twin', '/part']

for (const kind of ['default', 'no rmapbt', '1k']) {
  test(`an inode that cannot be read, and a wrong field of another AG, lose nothing: ${kind}`, { timeout: 0 }, (t) => {
    const victim = victimOf(kind)
    const places = placesIn(victim)
    const inodes = UNREAD.flatMap((path) => places.find(({ what }) => what.startsWith(`inode of ${path}.`)) ?? [])
    const others = places.filter(({ what }) => /^(agf|agi|agfl|sb) |^\w+bt block/.test(what))
    const { geometry } = victim
    const agSize = geometry.sb.agblocks * geometry.blocksize
    const agnoOf = ({ position }: Place): number => Math.floor(position / agSize)
    const cases = others.flatMap((place) =>
      (Object.keys(verbs) as Verb[]).flatMap((verb) => [true, false].map((withCrc) => ({ place, verb, withCrc }))),
    )
    const counts: Partial<Record<Outcome, number>> = {}
    const failures: string[] = []
    let run = 0
    const end = Date.now() + MINUTES * 60_000
    for (const i of spread(cases.length)) {
      if (run === (LONG ? cases.length : PAIRS) || Date.now() > end) break
      const { place, verb, withCrc } = cases[i] as (typeof cases)[0]
      const unread = inodes[i % inodes.length] as Place
      if (agnoOf(unread) === agnoOf(place) || place.ino !== undefined) continue
      run++
      try {
        const outcome = tryBoth(victim, unread, place, verb, withCrc)
        if (outcome !== undefined) counts[outcome] = (counts[outcome] ?? 0) + 1
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error))
      }
    }
    t.diagnostic(`${run} of ${cases.length} cases: ${JSON.stringify(counts)}, failed: ${failures.length}`)
    assert.deepEqual(failures.slice(0, SHOWN), [])
    assert.ok((counts.repaired ?? 0) > 0)
  })
}

const find = (places: readonly Place[], what: string): Place => {
  const place = places.find((one) => one.what === what)
  assert.ok(place, what)
  return place
}

test('the realtime flag without a realtime device does not free the blocks of a file', () => {
  for (const kind of Object.keys(images)) {
    const victim = victimOf(kind)
    const device = overlay(victim.device)
    damage(device, find(placesIn(victim), 'inode of /plain.flags'), 'flip the last bit', true)
    const { after } = repair(device, { partial: true })
    assert.equal(after.findings.has('bnobt.missing'), false, kind)
    assert.deepEqual(givenAway(device, victim, victim.unlinked), [], kind)
  }
})

test('without rmapbt and secondary superblocks, blocks next to the log do not become free', () => {
  const victim = victimOf('one group')
  let declined = 0
  for (const field of ['logstart', 'logblocks']) {
    for (const verb of Object.keys(verbs) as Verb[])
      if (tryDamage(victim, find(placesIn(victim), `sb 0.${field}`), verb, true) === 'declined') declined++
  }
  assert.ok(declined >= 2, String(declined))
})

test('an inobt leaf that lost its records: the inodes are found, all files are back', () => {
  for (const kind of Object.keys(images)) {
    for (const withCrc of [true, false]) {
      const victim = victimOf(kind)
      for (const place of placesIn(victim).filter(({ what }) => what === 'inobt block.numrecs')) {
        const device = overlay(victim.device)
        assert.ok(damage(device, place, 'zero', withCrc))
        const { after } = repair(device)
        assert.deepEqual(after.findings.list.map(describe), [], kind)
        assertNothingLost(device, victim, undefined, true, kind)
      }
    }
  }
})

test('an inode without a mode that the superblock or an entry needs is not free: it gets its type back', () => {
  for (const kind of Object.keys(images)) {
    const victim = victimOf(kind)
    for (const path of ['/', 'rbm', 'rsum', '/plain', '/dir0', '/short', '/fifo']) {
      const device = overlay(victim.device)
      damage(device, find(placesIn(victim), `inode of ${path}.mode`), 'zero', true)
      const { after } = repair(device)
      assert.deepEqual(after.findings.list.filter(({ id }) => id !== 'agi.unlinked').map(describe), [], path)
      assertNothingLost(device, victim, undefined, true, `${kind}: ${path}`)
    }
  }
})

test('an unwritten extent of a directory or of a symlink becomes a written one, as rmapbt has it', () => {
  const victim = victimOf('default')
  for (const what of ['inode of /dir0.u3.bmx[0].unwritten', 'inode of /long.u3.bmx[0].unwritten']) {
    const device = overlay(victim.device)
    assert.ok(damage(device, find(placesIn(victim), what), 'flip the last bit', true))
    const { before, after } = repair(device)
    assert.ok(before.findings.has('inode.extent'), what)
    assert.deepEqual(after.findings.list.map(describe), [], what)
    assertNothingLost(device, victim, undefined, true, what)
  }
})
