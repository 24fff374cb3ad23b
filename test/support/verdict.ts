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
 * Run `xfskit recover` on an image. @returns why its exit status is not 0, if so. @throws XfsError
 */
export const recoverDevice = (device: Device): string | undefined => recover(device).refused

export interface Expected {
  /** The trees at the steps of the command. */
  readonly states: readonly Tree[]
  /** The oldest possible one. */
  readonly oldest?: number
  /** The image may not have a filesystem yet. */
  readonly makes?: boolean | undefined
  /** The image was not sound before, or has NEEDSREPAIR: it is repaired after recovery. */
  readonly marks?: boolean | undefined
}

/**
 * Judge the image of a killed command: after one recovery it must be sound, and have the content of
 * one of the steps. @returns the fault, if any
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

/**
 * The complaints of our check about the recovered image, and the comparison of its tree with the
 * states.
 */
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
