import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import { memoryDevice } from '../../src/device/memory.ts'
import { fixedClock } from '../../src/format/time.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { mkfs } from '../../src/mkfs/mkfs.ts'
import type { MkfsOptions } from '../../src/mkfs/options.ts'
import { type OpenOptions, Volume } from '../../src/volume.ts'
import { random } from '../support/random.ts'
import { ourTwin } from './twin-ours.ts'
import { newWorld, nextStep } from './twin-steps.ts'

/**
 * Random sequences of operations, in memory, without external oracles: the same sequence on two
 * filesystems with different features. Every operation has the same result on both, including
 * errors. After each batch both trees are equal, also when read again from the device, and a full
 * check finds no problems.
 */
const LONG = process.env['XFSKIT_LONG'] === '1'
const STEPS = LONG ? 1000 : 120
const BATCH = LONG ? 50 : 30
const SEEDS = LONG ? [1, 2, 3, 4, 5] : [1]
const SIZE = 256 * 2 ** 20

interface Format {
  readonly features: NonNullable<MkfsOptions['features']>
  readonly committer?: OpenOptions['committer']
}

const pairs: readonly (readonly [name: string, blocksize: number, one: Format, other: Format])[] = [
  [
    'all features, and no rmapbt, finobt and large counters',
    4096,
    { features: {}, committer: loggedCommits },
    { features: { rmapbt: false, finobt: false, inobtcount: false, nrext64: false } },
  ],
  [
    '1k blocks: through the log, and without it, no sparse inodes and exchange',
    1024,
    { features: {}, committer: loggedCommits },
    { features: { sparse: false, exchange: false } },
  ],
]

for (const [name, blocksize, ...formats] of pairs) {
  for (const seed of SEEDS) {
    test(`random sequences of operations come out the same: ${name}, seed ${seed}`, () => {
      const devices = formats.map(({ features }) => {
        const device = memoryDevice(SIZE)
        mkfs(device, { blocksize, features, autofsck: 'none' })
        return device
      })
      const open = (i: number): Volume =>
        Volume.open(devices[i] as (typeof devices)[number], {
          write: true,
          now: fixedClock(1_700_000_000, 0),
          ...(formats[i]?.committer && { committer: formats[i].committer }),
        })
      const r = random(seed)
      const world = newWorld({ blocksize, reflink: true, bigtime: true, growLimit: Number.POSITIVE_INFINITY })
      for (let step = 0; step < STEPS; step += BATCH) {
        const volumes = devices.map((_, i) => open(i))
        const [one, other] = volumes.map(ourTwin) as [ReturnType<typeof ourTwin>, ReturnType<typeof ourTwin>]
        for (let i = 0; i < BATCH; i++) {
          const next = nextStep(r, world)
          const result = next.run(one)
          assert.equal(next.run(other), result, `step ${step + i}: ${next.text}`)
          if (result.startsWith('ok')) next.done?.()
        }
        const manifest = one.manifest()
        assert.deepEqual(other.manifest(), manifest, `after step ${step + BATCH}`)
        for (const volume of volumes) volume.close()
        for (const device of devices) {
          const again = Volume.open(device)
          const findings = check(device, again.geometry).findings.list.map(
            (finding) => `${finding.id}: ${describe(finding)}`,
          )
          assert.deepEqual(findings.slice(0, 10), [], `after step ${step + BATCH}`)
          assert.deepEqual(ourTwin(again).manifest(), manifest, `read again after step ${step + BATCH}`)
        }
      }
    })
  }
}
