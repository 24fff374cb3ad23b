import { check } from '../../src/check/check.ts'
import { describe } from '../../src/check/findings.ts'
import type { Device } from '../../src/device/device.ts'
import { XfsError } from '../../src/errors.ts'
import { logState } from '../../src/log/ring.ts'
import { recover } from '../../src/recovery/recover.ts'
import { repair } from '../../src/repair/repair.ts'
import { Volume } from '../../src/volume.ts'
import { type Tree, treeOf, whatIsTorn } from './trees.ts'

/**
 * What `xfskit recover` does with an image. @returns why it ends with another status than 0, if it
 * does. @throws XfsError
 */
export const recoverDevice = (device: Device): string | undefined => recover(device).refused

export interface Expected {
  /** The trees that the command went through. */
  readonly states: readonly Tree[]
  /** The oldest of them that there can be. */
  readonly oldest?: number
  /** There may be no filesystem yet. */
  readonly makes?: boolean | undefined
  /** The image was not sound before, or is marked NEEDSREPAIR: it is repaired after recovery. */
  readonly marks?: boolean | undefined
}

/**
 * The image of a killed command: recovered, once, it is sound and holds what it held at one of the
 * steps. @returns what is wrong, if anything
 */
export function verdict(device: Device, { states, oldest, makes, marks }: Expected): string | undefined {
  try {
    if (makes && oldest === undefined && isNoFilesystem(device)) return undefined
    const refused = recoverDevice(device)
    if (marks) repair(device)
    else if (refused !== undefined) return `refused: ${refused}`
    return wrongAfterRecovery(device, states, oldest)
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
    return `${error.code}: ${error.message}`
  }
}

/** What our own check has against the recovered image, and its tree against the states. */
export function wrongAfterRecovery(
  device: Device,
  states: readonly Tree[],
  oldest?: number,
  seen: (tree: Tree) => Tree = (tree) => tree,
): string | undefined {
  const volume = Volume.open(device, { needsRepair: true })
  if (volume.features.has('needsrepair')) return 'recovered, the image is marked NEEDSREPAIR'
  if (!logState(volume).clean) return 'recovered, the log is dirty'
  const { list, total } = check(device, volume.geometry).findings
  if (total > 0) return `check: ${total} findings: ${list.slice(0, 8).map((finding) => `${finding.id}: ${describe(finding)}`).join('; ')}` // biome-ignore format: one line
  return whatIsTorn(seen(treeOf(device, states.at(-1))), states, oldest)
}

function isNoFilesystem(device: Device): boolean {
  try {
    Volume.open(device, { needsRepair: true })
    return false
  } catch (error) {
    if (error instanceof XfsError) return true
    throw error
  }
}
