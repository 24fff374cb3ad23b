import assert from 'node:assert/strict'
import { copyFileSync, rmSync } from 'node:fs'
import { test } from 'node:test'
import { openFile } from '../../src/device/file.ts'
import { logState } from '../../src/log/ring.ts'
import { Volume } from '../../src/volume.ts'
import { caseSeed, LONG, now, type Outcome, prepare, runCases } from '../support/campaign.ts'
import type { DiskHooks } from '../support/diskcalls.ts'
import { type Random, random } from '../support/random.ts'
import { recordCommands } from '../support/recording.ts'
import { type Tree, withoutTimes } from '../support/trees.ts'
import { wrongAfterRecovery } from '../support/verdict.ts'
import { type Workload, workloads } from '../support/workloads.ts'

/**
 * The host's disk fails or is full while a command runs. The command fails and reports the reason.
 * If it leaves a dirty log, it names `recover`, which makes the image sound.
 */
const ERRORS = LONG ? 3 : 2
const chosen = workloads.filter(({ long, makes, marks }, i) => !makes && !marks && !long && (LONG || i % 24 === 3))

interface Fault {
  readonly what: string
  readonly hooks: Omit<DiskHooks, 'after'>
  /** A call failed; a short write is not a failure. */
  readonly met: () => boolean
  /**
   * The number of writes after a failed flush. Data of that flush may be lost even if a later flush
   * succeeds.
   */
  readonly writesAfter?: () => number
}

const error = (code: string, errno: number, call: string): Error =>
  Object.assign(new Error(`${code}: ${call}`), { code, errno: -errno, syscall: call })

/** Writes are cut between sectors; a single sector is written completely. */
const partOf = (length: number): number => Math.min(length, Math.ceil(length / 512 / 3) * 512)

/** A fault at one of the command's writes or flushes. */
function drawFault(writes: number, flushes: number, draw: Random): Fault {
  const [write, flush] = [draw.int(writes), draw.int(flushes)]
  let [written, flushed, failed] = [0, 0, false]
  const met = (): boolean => failed
  const onWrite = (what: string, beforeWrite: (n: number, length: number) => number): Fault => ({
    met,
    what: `${what} ${write} of ${writes}`,
    hooks: { beforeWrite: (length) => beforeWrite(written++, length) },
  })
  const fail = (code: string, errno: number): never => {
    failed = true
    throw error(code, errno, 'write')
  }
  const onFlush = (what: string, fails: (n: number) => boolean): Fault => {
    let after = 0
    return {
      met,
      what: `${what} ${flush} of ${flushes}`,
      hooks: {
        beforeWrite(length) {
          if (flushed > flush) after++
          return length
        },
        beforeFlush() {
          if (!fails(flushed++)) return
          failed = true
          throw error('EIO', 5, 'fdatasync')
        },
      },
      writesAfter: () => after,
    }
  }
  const faults = [
    () => onWrite('EIO at write', (n, length) => (n === write ? fail('EIO', 5) : length)),
    () => onWrite('EIO from write', (n, length) => (n >= write ? fail('EIO', 5) : length)),
    () => onWrite('ENOSPC from write', (n, length) => (n >= write ? fail('ENOSPC', 28) : length)),
    () =>
      onWrite('short write, then ENOSPC, from', (n, length) => {
        if (n > write) fail('ENOSPC', 28)
        return n === write ? partOf(length) : length
      }),
    () => onWrite('short write', (n, length) => (n === write ? partOf(length) : length)),
    () => onFlush('EIO at flush', (n) => n === flush),
    () => onFlush('EIO from flush', (n) => n >= flush),
  ]
  return draw.pick(faults)()
}

for (const workload of chosen) {
  test(`a failing disk: ${workload.name}`, async () => {
    const { image, lines } = await prepare(workload)
    const before = `${image}.before`
    copyFileSync(image, before)
    const since = now()
    const { events, status } = await recordCommands(image, lines, { trees: false })
    copyFileSync(before, image)
    // Transactions that were committed before the failure are on the disk.
    const { steps } = await recordCommands(image, lines, { syncEvery: 1 })
    assert.equal(status, 0)
    const flushes = events.filter(({ kind }) => kind === 'flush').length
    const seen = (tree: Tree): Tree => withoutDirectoryTimes(withoutTimes(tree, since))
    const states = steps.map(({ tree }) => seen(tree))
    const wrong = await runCases('error', workload.name, ERRORS, async (index): Promise<Outcome> => {
      const draw = random(caseSeed(workload.name, index))
      const fault = drawFault(events.length - flushes, flushes, draw)
      copyFileSync(before, image)
      const failed = await recordCommands(image, lines, { ...fault.hooks, trees: false })
      const what = `${fault.what}: exit status ${failed.status}, ${JSON.stringify(failed.stderr)}`
      if ((failed.status === 0) === fault.met()) return { what, wrong: 'the exit status' }
      if (/unexpected|bug/.test(failed.stderr)) return { what, wrong: 'the message' }
      const writes = fault.writesAfter?.() ?? 0
      if (writes > 0) return { what, wrong: `${writes} writes after a flush that failed` }
      if (isLeftOver(image) && !/recover/.test(failed.stderr))
        return { what, wrong: 'the image has to be recovered, and the message does not say so' }
      // Recovery meets a failing disk, too.
      if (draw.chance(0.3))
        await recordCommands(image, [['recover', image]], { ...drawFault(8, 3, draw).hooks, trees: false })
      const recovered = await recordCommands(image, [['recover', image]], { trees: false })
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

test('a full disk of the host is not taken for an image without room', async () => {
  for (const name of ['fsr', 'put: a tree', 'unshare', 'io: copy_range']) {
    const { image, lines } = await prepare(workloads.find((workload) => workload.name === name) as Workload)
    const beforeWrite = (): never => {
      throw error('ENOSPC', 28, 'write')
    }
    const { status, stderr } = await recordCommands(image, lines, { beforeWrite, trees: false })
    assert.notEqual(status, 0, name)
    assert.match(stderr, name.startsWith('io:') ? /Input\/output error/ : /no space left on the host's disk/, name)
    rmSync(image)
  }
})

/**
 * A file that is created, and removed because its bytes cannot be written, leaves new times of its
 * directory.
 */
const withoutDirectoryTimes = (tree: Tree): Tree => ({
  ...tree,
  lines: tree.lines.map((line) => (DIRECTORY.test(line) ? line.replace(/ (mtime|ctime) (\d+|now)/g, ' $1 any') : line)),
})

const DIRECTORY = /^"(?:[^"\\]|\\.)*" 4\d{4} /

/** Is anything left for recovery? */
function isLeftOver(image: string): boolean {
  const device = openFile(image, 'r')
  try {
    const volume = Volume.open(device, { needsRepair: true })
    return !logState(volume).clean || volume.features.has('needsrepair')
  } finally {
    device.close()
  }
}
