import { check } from '../check/check.ts'
import { describe } from '../check/findings.ts'
import { addPaths } from '../check/paths.ts'
import { problemOf } from '../check/problems.ts'
import type { Device } from '../device/device.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import { requireNotAhead } from '../image.ts'
import { loggedCommits } from '../log/checkpoint.ts'
import { remedy } from '../log/dirty.ts'
import { type Replayed, recoverLog } from '../log/replay.ts'
import { logState } from '../log/ring.ts'
import { Volume } from '../volume.ts'
import { clearNeedsRepair, freeLeftovers, hasLeftovers, type Leftovers } from './leftovers.ts'

/**
 * Recovery:
 *
 *   replay the log ─▶ rehearse in memory: free the leftovers, clear NEEDSREPAIR, check
 *                       ├─ the check finds nothing ─▶ repeat it on the device
 *                       └─ else ─▶ the device has only its log replayed
 *
 * The image does not show who set NEEDSREPAIR, or whether the lists of leftovers can be trusted. A
 * full check decides. With a clean log, an earlier version may have replayed it and left the rest.
 * With a log of zeros, the check finds metadata that is ahead of it.
 */
export interface Recovered extends Replayed, Leftovers {
  /** NEEDSREPAIR was cleared. */
  readonly unmarked: boolean
  /** Why leftovers or NEEDSREPAIR were left for repair. */
  readonly refused?: string
}

/**
 * Recover the filesystem on `device`: replay its log and free leftovers. Without `refused` the log
 * is clean, and if anything was done, a full check finds no problems.
 *
 * @throws XfsError DIRTYLOG if the log cannot be replayed here; nothing was changed
 */
export function recover(device: Device): Recovered {
  const replayed = replay(device)
  requireClean(device)
  const volume = Volume.open(device, { needsRepair: true })
  const marked = volume.features.has('needsrepair')
  const nothing = { ...replayed, inodes: 0, cowBlocks: 0, unmarked: false }
  try {
    const state = logState(volume)
    requireNotAhead(volume, state)
    const certain = !state.zeroed && replayed.transactions === 0 && !marked
    if (certain && !hasLeftovers(volume)) return nothing
    const refused = rehearse(device)
    if (refused !== undefined) return { ...nothing, refused }
    const leftovers = finish(device)
    requireClean(device)
    return { ...replayed, ...leftovers, unmarked: marked }
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO' || error.code === 'DIRTYLOG') throw error
    return { ...nothing, refused: error.message }
  }
}

/**
 * The filesystem as it is after a replay of its log, in memory. Leftovers stay.
 * @throws XfsError DIRTYLOG if the log cannot be replayed here
 */
export function replayInMemory(device: Device): Overlay {
  const copy = overlay(device)
  replay(copy)
  requireClean(copy)
  return copy
}

/**
 * The same after a complete recovery, without the check of it: if leftovers cannot be freed, they
 * stay.
 * @throws XfsError DIRTYLOG if the log cannot be replayed here
 */
export function recoverInMemory(device: Device): Overlay {
  const replayed = replayInMemory(device)
  const copy = overlay(replayed)
  try {
    freeAll(copy)
    return copy
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    return replayed
  }
}

function freeAll(device: Device): void {
  const volume = Volume.open(device, { write: true, needsRepair: true, committer: loggedCommits })
  try {
    freeLeftovers(volume)
  } finally {
    volume.sync()
  }
}

function replay(device: Device): Replayed {
  const { geometry, features } = Volume.open(device, { needsRepair: true })
  try {
    return recoverLog(device, geometry)
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    throw new XfsError(
      'DIRTYLOG',
      `${error.message}: ${remedy(error, { features })}`,
      { type: 'log' },
      { cause: error },
    )
  }
}

function finish(device: Device): Leftovers {
  const volume = Volume.open(device, { write: true, needsRepair: true, committer: loggedCommits })
  try {
    const leftovers = freeLeftovers(volume)
    clearNeedsRepair(volume)
    return leftovers
  } finally {
    volume.sync()
  }
}

/** @returns the problems that would be left */
function rehearse(device: Device): string | undefined {
  const copy = overlay(device)
  finish(copy)
  const result = check(copy, Volume.open(copy).geometry)
  addPaths(copy, result)
  const wrong = result.findings.list.filter(({ id }) => problemOf(id).note !== true)
  const [first] = wrong
  if (!first) return undefined
  const more = wrong.length > 1 ? `, and ${wrong.length - 1} more` : ''
  return `a check finds: ${describe(first)}${more}`
}

function requireClean(device: Device): void {
  const { clean, fault } = logState(Volume.open(device, { needsRepair: true }))
  if (clean) return
  throw new XfsError('DIRTYLOG', `the log is not clean after its recovery: ${fault ?? 'it is dirty'}`, { type: 'log' })
}
