import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import { overlay } from '../../src/device/overlay.ts'
import { record } from '../../src/device/record.ts'
import { XfsError } from '../../src/errors.ts'
import { loggedCommits } from '../../src/log/checkpoint.ts'
import { caseSeed, LONG, recordWorkload, runCases } from '../support/campaign.ts'
import { xfskit } from '../support/cli.ts'
import { writeImage } from '../support/crashimages.ts'
import { judge } from '../support/judge.ts'
import { mountImage, skip } from '../support/oracles.ts'
import { describeCut, deviceAfterCut, drawCut } from '../support/powercut.ts'
import { type Random, random } from '../support/random.ts'
import type { Recording } from '../support/recording.ts'
import { withTempDir } from '../support/temp.ts'
import { recoverDevice, verdict, wrongAfterRecovery } from '../support/verdict.ts'
import { type Workload, workloads } from '../support/workloads.ts'

/**
 * A power failure while a command runs. With any subset of the writes since the last flush on the
 * disk, one run of `recover` makes the image sound. It then has the content before the command,
 * after it, or after one of its steps.
 */
const CUTS = LONG ? 40 : 2
/** More for making a filesystem, whose recording takes no time. */
const CUTS_OF_MKFS = 40
/** In half of the recordings this number of commits is written to the disk together: more steps. */
const SYNC_EVERY = 3

const chosen = workloads.filter(({ long, makes }, i) => LONG || (!long && (makes || i % 4 === 2)))

/** The possible contents of the recovered image. A new filesystem is complete or does not exist. */
function expected({ steps, events }: Recording, { makes, marks }: Workload, at: number): Parameters<typeof verdict>[1] {
  if (makes) {
    const { tree } = steps.at(-1) as (typeof steps)[number]
    return { states: [tree], makes, ...(at === events.length && { oldest: 0 }) }
  }
  const oldest = steps.findLastIndex(({ after }) => after <= at)
  return { states: steps.map(({ tree }) => tree), ...(oldest >= 0 && { oldest }), marks }
}

/** Recovery is interrupted as well, up to two times. @returns the device after that */
function cutRecovery(device: Device, draw: Random): { device: Device; what: string } {
  let [what, left] = ['', device]
  for (let times = draw.pick([0, 0, 1, 2]); times > 0; times--) {
    const recorder = record(overlay(left))
    try {
      recoverDevice(recorder)
    } catch (error) {
      if (error instanceof XfsError) break // The next run reports what is wrong.
      throw error
    }
    const cut = drawCut(recorder.events, draw)
    what += `; recovery ${describeCut(cut, recorder.events)}`
    left = deviceAfterCut(left, recorder.events, cut)
  }
  return { device: left, what }
}

for (const workload of chosen) {
  test(`power cuts: ${workload.name}`, async () => {
    const recorded = await recordWorkload(workload)
    const stepped = LONG && !workload.makes ? await recordWorkload(workload, { syncEvery: SYNC_EVERY }) : recorded
    if (workload.atomic) assert.equal(recorded.recording.steps.length, 2, 'one tree before, one after')
    const cuts = workload.makes ? CUTS_OF_MKFS : CUTS
    const wrong = await runCases('powercut', workload.name, cuts, (index) => {
      const { before, recording } = index % 2 === 0 ? recorded : stepped
      const draw = random(caseSeed(workload.name, index))
      const cut = drawCut(recording.events, draw)
      const { device, what } = cutRecovery(deviceAfterCut(before, recording.events, cut), draw)
      return {
        what: describeCut(cut, recording.events) + what,
        wrong: verdict(device, expected(recording, workload, cut.at)),
      }
    })
    assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} of ${cuts} cuts`)
  })
}

/** Some of each kind. */
const judged = workloads.filter(
  ({ long, makes, marks }, i) => (LONG || !long) && !makes && !marks && i % (LONG ? 2 : 32) === 1,
)

test('power cuts, recovered by the program: xfs_repair and the kernel find nothing', async () => {
  for (const workload of judged) {
    const { before, recording } = await recordWorkload(workload)
    const wrong = await runCases('judged', workload.name, LONG ? 3 : 1, (index) =>
      withTempDir((folder) => {
        const cut = drawCut(recording.events, random(caseSeed(workload.name, index)))
        const image = join(folder, 'image')
        writeImage(deviceAfterCut(before, recording.events, cut), image)
        const what = describeCut(cut, recording.events)
        const { status, stderr } = xfskit(['recover', image])
        if (status !== 0) return { what, wrong: `recover: exit status ${status}: ${stderr}` }
        const wrongTree = onFile(image, (device) => {
          const { states, oldest } = expected(recording, workload, cut.at)
          return wrongAfterRecovery(device, states, oldest)
        })
        return { what, wrong: wrongTree ?? complaint(() => judge(image, { kernel: true })) }
      }),
    )
    assert.deepEqual(wrong, [])
  }
})

test('power cuts, recovered by the kernel', { skip: skip.kernel || skip.newest }, async () => {
  for (const workload of judged) {
    const { before, recording } = await recordWorkload(workload, { committer: loggedCommits })
    const wrong = await runCases('kernel', workload.name, LONG ? 3 : 1, (index) =>
      withTempDir((folder) => {
        const cut = drawCut(recording.events, random(caseSeed(workload.name, index)))
        const image = join(folder, 'image')
        writeImage(deviceAfterCut(before, recording.events, cut), image)
        const wrongMount = complaint(() => mountImage(image, () => {}))
        const wrongTree = onFile(image, (device) => {
          const { states, oldest } = expected(recording, workload, cut.at)
          return wrongAfterRecovery(device, states, oldest)
        })
        const what = describeCut(cut, recording.events)
        return { what, wrong: wrongMount ?? wrongTree ?? complaint(() => judge(image)) }
      }),
    )
    assert.deepEqual(wrong, [])
  }
})

function onFile<T>(image: string, use: (device: Device) => T): T {
  const device = openFile(image, 'r')
  try {
    return use(device)
  } finally {
    device.close()
  }
}

function complaint(judgement: () => void): string | undefined {
  try {
    judgement()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
