import { main } from '../../src/cli/main.ts'
import type { Device } from '../../src/device/device.ts'
import { openFile } from '../../src/device/file.ts'
import type { DeviceEvent } from '../../src/device/record.ts'
import { type CommitterMaker, Volume } from '../../src/volume.ts'
import { type DiskHooks, withDiskCalls } from './diskcalls.ts'
import { type Tree, treeOf } from './trees.ts'

/** A recorded command: its writes and flushes, and the trees at its steps. */
export interface Recording {
  readonly events: readonly DeviceEvent[]
  /**
   * The trees from the first to the last, with the number of events after which each was durable.
   */
  readonly steps: readonly Step[]
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

export interface Step {
  readonly tree: Tree
  readonly after: number
}

export interface RecordOptions extends Omit<DiskHooks, 'after'> {
  /** Sync after this number of transactions: more steps between the first and the last. */
  readonly syncEvery?: number
  /** Do not read the trees: the image need not be sound. */
  readonly trees?: false
  /** How commits reach the device, instead of the command's own way. */
  readonly committer?: CommitterMaker
}

/** Run command lines in this process, as the program does. The hooks may simulate disk errors. */
export async function recordCommands(
  image: string,
  lines: readonly (readonly string[])[],
  options: RecordOptions = {},
): Promise<Recording> {
  const events: DeviceEvent[] = []
  const steps: Step[] = []
  const hooks = { ...options, after: (event: DeviceEvent) => void events.push(event) }
  const { result, stdout, stderr } = await withDiskCalls(image, hooks, () =>
    withSteps(
      options,
      (device) => {
        if (options.trees !== false) steps.push({ tree: treeOf(device, steps.at(-1)?.tree), after: events.length })
      },
      async () => {
        for (const line of lines) {
          const status = await main(line, 'xfskit')
          if (status !== 0) return status
        }
        return 0
      },
    ),
  )
  // A command that formats has no open volume.
  if (steps.length === 0 && options.trees !== false) {
    const device = openFile(image, 'r')
    steps.push({ tree: treeOf(device), after: events.length })
    device.close()
  }
  return { events, steps, status: result, stdout, stderr }
}

/**
 * Call `step` when a volume was opened for writing, and each time that the commits are on the
 * device: a power cut leaves one of these states. The steps are observed on the volume that
 * `Volume.open` returns, so commands are unchanged.
 */
async function withSteps<T>(
  { syncEvery = Number.POSITIVE_INFINITY, committer: maker }: RecordOptions,
  step: (device: Device) => void,
  use: () => Promise<T>,
): Promise<T> {
  const { open } = Volume
  Volume.open = (device, options) => {
    const volume = open.call(Volume, device, options?.write && maker ? { ...options, committer: maker } : options)
    if (!volume.writable) return volume
    const { committer } = volume
    const commit = committer.commit.bind(committer)
    const sync = committer.sync.bind(committer)
    let waiting = true
    const note = (): void => {
      if (waiting) step(device)
      waiting = false
    }
    let commits = 0
    committer.commit = (changed, items) => {
      waiting = true
      commit(changed, items)
      if (++commits % syncEvery === 0) committer.sync()
    }
    committer.sync = () => {
      sync()
      note()
    }
    note()
    return volume
  }
  try {
    return await use()
  } finally {
    Volume.open = open
  }
}
