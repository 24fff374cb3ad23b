import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { describe } from '../../src/check/findings.ts'
import { InodeState } from '../../src/check/observe/inodetable.ts'
import { type ProblemId, problemIds, problemOf, problems } from '../../src/check/problems.ts'
import type { CheckResult } from '../../src/check/result.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { judge, readEverything } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { repoRoot, withTempDir } from '../support/temp.ts'
import { changedPaths, contentsOf } from './contents.ts'
import { bytesDevice, Image } from './image.ts'

/**
 * Each fixture is found by its id and repaired. Then its files are unchanged, and neither we nor
 * others find a problem.
 */

interface Expect {
  readonly name: string
  readonly findings: readonly ProblemId[]
  readonly repaired: boolean
  /** The files that the repair changes: what it costs. */
  readonly changed?: readonly string[]
}

const root = join(repoRoot(), 'fixtures')
const names = readdirSync(root).filter((name) => existsSync(join(root, name, 'expect.json')))

const load = (name: string): { image: Image; expect: Expect } => ({
  image: new Image(gunzipSync(readFileSync(join(root, name, 'image.gz')))),
  expect: JSON.parse(readFileSync(join(root, name, 'expect.json'), 'utf8')) as Expect,
})

const files = contentsOf(load('clean').image.device)

const idsOf = (result: CheckResult): ProblemId[] => [...new Set(result.findings.list.map(({ id }) => id))].sort()
const sentences = (result: CheckResult): string[] =>
  result.findings.list.map((finding) => `${finding.id}: ${describe(finding)}`)

/**
 * All inodes in use, and all blocks that files map: a repair of derived metadata must not change
 * them.
 */
function filesHash(image: Image): string {
  const { observation } = image.check()
  const hash = createHash('sha256')
  const { inodes } = observation
  for (let slot = 0; slot < inodes.slots; slot++) {
    if (inodes.state.get(slot) !== InodeState.sound || inodes.mode.get(slot) === 0) continue
    const copy = new DataView(
      Uint8Array.from(
        new Uint8Array(
          image.inode(inodes.ino(slot)).buffer,
          image.inode(inodes.ino(slot)).byteOffset,
          image.geometry.inodesize,
        ),
      ).buffer,
    )
    copy.setUint32(124, copy.getUint32(124) & ~2) // the reflink flag follows from what is shared
    copy.setUint32(100, 0)
    hash.update(new Uint8Array(copy.buffer))
  }
  for (const { agno, mappings } of observation.ags) {
    for (let row = 0; row < mappings.length; row++) {
      const from = mappings.start.get(row)
      for (let agbno = from; agbno < from + mappings.count.get(row); agbno++) {
        const view = image.block(agno, agbno)
        hash.update(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
      }
    }
  }
  return hash.digest('hex')
}

for (const name of names) {
  test(`fixture ${name}`, () => {
    const { image, expect } = load(name)
    const before = image.check()
    assert.deepEqual(idsOf(before), [...expect.findings].sort(), sentences(before).join('\n'))
    if (name !== 'clean') assert.ok(before.findings.has(name as ProblemId))
    const bytes = Uint8Array.from(image.bytes)
    const damaged = expect.repaired ? filesHash(image) : undefined
    const dry = repair(bytesDevice(Uint8Array.from(bytes)), { dryRun: true })
    assert.equal(dry.changed, false)
    const result = repair(image.device)
    if (!expect.repaired) {
      assert.ok(result.after.findings.total > 0)
      if (!result.changed)
        assert.ok(Buffer.compare(image.bytes, bytes) === 0, 'nothing is written where nothing is repaired')
      return
    }
    assert.deepEqual(sentences(result.after), [])
    const derived = result.plans.every((plan) => plan.cores.length + plan.forks.length + plan.names.length === 0)
    if (derived) assert.equal(filesHash(image), damaged, 'files are as they were')
    else assert.deepEqual(changedPaths(files, contentsOf(image.device)), expect.changed ?? [], 'what the repair costs')
    assert.equal(repair(image.device).changed, false, 'a second repair has nothing to do')
    withTempDir((folder) => {
      const file = join(folder, 'image')
      writeFileSync(file, image.bytes)
      judge(file)
      if (skip.kernel === false && process.env['XFSKIT_LONG'] === '1') {
        mountImage(file, readEverything)
        judge(file)
      }
    })
  })
}

test('every problem has a fixture', () => {
  assert.deepEqual(
    Object.keys(problems).filter((id) => !names.includes(id)),
    [],
  )
})

test('the table says which problems are repaired, as the fixtures show', () => {
  const repaired = problemIds.filter((id) => load(id).expect.repaired)
  assert.deepEqual(
    repaired,
    problemIds.filter((id) => problemOf(id).fix !== null),
  )
})

test('a superblock that was damaged is still one', () => {
  const { image } = load('clean')
  assert.equal(Volume.open(image.device).geometry.agcount, 2)
})
