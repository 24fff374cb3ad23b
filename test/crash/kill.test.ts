import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { copyFileSync, rmSync, statSync } from 'node:fs'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { caseSeed, LONG, now, type Outcome, prepare, runCases } from '../support/campaign.ts'
import { program, xfskit } from '../support/cli.ts'
import { random } from '../support/random.ts'
import { recordCommands } from '../support/recording.ts'
import { type Tree, withoutTimes } from '../support/trees.ts'
import { wrongAfterRecovery } from '../support/verdict.ts'
import { workloads } from '../support/workloads.ts'

/**
 * The program is killed (SIGKILL) at any moment. Everything that it wrote is in the image, in
 * order, because the system continues. `recover` makes the image sound, and takes over the lock of
 * the killed process.
 */
const KILLS = LONG ? 6 : 1
/** Commands that run for a while. */
const chosen = workloads.filter(
  ({ long, makes, marks }, i) => !makes && !marks && (LONG ? long || i % 2 === 0 : !long && i % 40 === 2),
)

for (const workload of chosen) {
  test(`killed: ${workload.name}`, async () => {
    const { image, lines } = await prepare(workload)
    const line = lines[0] as string[]
    assert.equal(lines.length, 1)
    const before = `${image}.before`
    copyFileSync(image, before)
    const since = now()
    const { steps, status } = await recordCommands(image, lines)
    assert.equal(status, 0)
    const seen = (tree: Tree): Tree => withoutTimes(tree, since)
    const states = steps.map(({ tree }) => seen(tree))
    copyFileSync(before, image)
    const usual = await runKilled(line, image, () => undefined)
    const wrong = await runCases('kill', workload.name, KILLS, async (index): Promise<Outcome> => {
      const draw = random(caseSeed(workload.name, index))
      copyFileSync(before, image)
      // Half of them after the first write; before that the program only starts.
      const [early, share] = [draw.chance(0.25), draw.int(1000) / 1000]
      const delay = early ? { fromStart: share * usual.total } : { fromWrite: share * (usual.total - usual.firstWrite) }
      const { ended } = await runKilled(line, image, () => delay)
      let what = `killed ${JSON.stringify(delay)} ms, ${ended}`
      if (draw.chance(0.3)) {
        const again = { fromStart: draw.int(300) }
        const recovery = await runKilled(['recover', image], image, () => again)
        what += `; recovery killed ${JSON.stringify(again)} ms, ${recovery.ended}`
      }
      const recovered = xfskit(['recover', image])
      if (recovered.status !== 0) return { what, wrong: `recover: ${recovered.status}: ${recovered.stderr}` }
      const device = openFile(image, 'r')
      try {
        return { what, wrong: wrongAfterRecovery(device, states, undefined, seen) }
      } finally {
        device.close()
      }
    })
    rmSync(image)
    rmSync(before)
    assert.deepEqual(wrong, [])
  })
}

interface Moment {
  readonly fromStart?: number
  readonly fromWrite?: number
}

/** Run the program and kill it after some time, if it has not ended; times in milliseconds. */
async function runKilled(
  line: readonly string[],
  image: string,
  moment: () => Moment | undefined,
): Promise<{ total: number; firstWrite: number; ended: string }> {
  const { mtimeNs } = statSync(image, { bigint: true })
  const start = performance.now()
  const child = spawn(process.execPath, [program(), ...line], { stdio: 'ignore' })
  let firstWrite: number | undefined
  const { fromStart, fromWrite } = moment() ?? {}
  const timer = setInterval(() => {
    const time = performance.now() - start
    if (firstWrite === undefined && statSync(image, { bigint: true }).mtimeNs !== mtimeNs) firstWrite = time
    if (fromStart !== undefined && time >= fromStart) child.kill('SIGKILL')
    if (fromWrite !== undefined && firstWrite !== undefined && time >= firstWrite + fromWrite) child.kill('SIGKILL')
  }, 1)
  const ended = await new Promise<string>((resolve) =>
    child.once('exit', (status, signal) => resolve(signal ?? `exit status ${status}`)),
  )
  clearInterval(timer)
  const total = performance.now() - start
  return { total, firstWrite: firstWrite ?? total, ended }
}
