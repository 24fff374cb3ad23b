import { check } from '../check/check.ts'
import { describe } from '../check/findings.ts'
import { addPaths } from '../check/paths.ts'
import { problemOf } from '../check/problems.ts'
import type { Device } from '../device/device.ts'
import { type Overlay, overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import { requireNotAhead } from '../image.ts'
import { continueLog, loggedCommits } from '../log/checkpoint.ts'
import { remedy } from '../log/dirty.ts'
import { LogWriter } from '../log/records.ts'
import { type Replayed, type ReplayedLog, replayLog } from '../log/replay.ts'
import { logState } from '../log/ring.ts'
import { Volume } from '../volume.ts'
import { finishIntents } from './intents.ts'
import {
  clearLogIncompat,
  clearNeedsRepair,
  freeLeftovers,
  hasLeftovers,
  type Leftovers,
  setCounters,
} from './leftovers.ts'

/**
 * Recovery:
 *
 *   replay the log ─▶ rehearse in memory: finish intents, free the leftovers, clear NEEDSREPAIR,
 *                     check
 *                       ├─ the check finds nothing ─▶ repeat it on the device
 *                       └─ else ─▶ only finish the intents on the device
 *
 * The image does not show who set NEEDSREPAIR, or whether the lists of leftovers can be trusted. A
 * full check decides. With a clean log, an earlier version may have replayed it and left the rest.
 * With a log of zeros, the check finds metadata that is ahead of it.
 *
 * The log stays dirty until all of this is done, so an interrupted recovery can be repeated, here or
 * by the kernel.
 */
export interface Recovered extends Replayed, Leftovers {
  /** NEEDSREPAIR was cleared. */
  readonly unmarked: boolean
  /** Why leftovers or NEEDSREPAIR were left for repair. */
  readonly refused?: string
}

/**
 * Recover the filesystem on `device`: replay its log, finish its intents and free leftovers. Without
 * `refused` the log is clean, and if anything was done, a full check finds no problems.
 *
 * @throws XfsError DIRTYLOG if the log cannot be replayed here: nothing was changed; or if an intent
 *   contradicts the image: the log is still dirty
 */
export function recover(device: Device): Recovered {
  const log = replay(device)
  const replayed = { transactions: log?.transactions ?? 0, blocks: log?.blocks ?? 0 }
  const volume = Volume.open(device, { needsRepair: true })
  const marked = volume.features.has('needsrepair')
  const nothing = { ...replayed, inodes: 0, cowBlocks: 0, unmarked: false }
  const refused = attempt(() => {
    const state = logState(volume)
    requireNotAhead(volume, state)
    const certain = !state.zeroed && !log && !marked
    if (certain && !hasLeftovers(volume)) return nothing
    const problems = rehearse(device, log)
    if (problems !== undefined) return problems
    const leftovers = complete(device, log, finishAll)
    requireClean(device)
    return { ...replayed, ...leftovers, unmarked: marked }
  })
  if (typeof refused !== 'string') return refused
  cleanLog(device, log)
  return { ...nothing, refused }
}

/** The result of `action`, or the reason why it is not possible. */
function attempt(action: () => Recovered | string): Recovered | string {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO' || error.code === 'DIRTYLOG') throw error
    return error.message
  }
}

/**
 * The filesystem as it is after a replay of its log, in memory. Leftovers stay.
 * @throws XfsError DIRTYLOG if the log cannot be replayed here
 */
export function replayInMemory(device: Device): Overlay {
  const copy = overlay(device)
  recoverLog(copy)
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
    complete(copy, undefined, freeLeftovers)
    return copy
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    return replayed
  }
}

/**
 * Only replay the log of the filesystem on `device`, and finish its intents: leftovers stay.
 * @throws XfsError as `recover`
 */
export function recoverLog(device: Device): Replayed {
  const log = replay(device)
  cleanLog(device, log)
  return { transactions: log?.transactions ?? 0, blocks: log?.blocks ?? 0 }
}

function replay(device: Device): ReplayedLog | undefined {
  const { geometry } = Volume.open(device, { needsRepair: true })
  return withRemedy(device, () => replayLog(device, geometry))
}

/** Errors become DIRTYLOG, with what can be done. */
function withRemedy<T>(device: Device, action: () => T): T {
  try {
    return action()
  } catch (error) {
    if (!(error instanceof XfsError) || error.code === 'IO') throw error
    const message = `${error.message}: ${remedy(error, Volume.open(device, { needsRepair: true }))}`
    throw new XfsError('DIRTYLOG', message, { type: 'log' }, { cause: error })
  }
}

/** Finish the intents of a log that is replayed, then `rest`. The log is clean afterwards. */
function complete<T>(device: Device, log: ReplayedLog | undefined, rest: (volume: Volume) => T): T {
  const [oldest] = log?.intents ?? []
  const continued = log && continueLog(log.state, oldest?.lsn)
  const committer = continued?.commits ?? loggedCommits
  const volume = Volume.open(device, { write: true, needsRepair: true, committer })
  // After an error the log stays dirty.
  if (log && log.intents.length > 0)
    withRemedy(device, () => {
      finishIntents(volume, log.intents)
      setCounters(volume)
    })
  clearLogIncompat(volume)
  continued?.release()
  try {
    return rest(volume)
  } finally {
    volume.sync()
  }
}

function finishAll(volume: Volume): Leftovers {
  const leftovers = freeLeftovers(volume)
  clearNeedsRepair(volume)
  return leftovers
}

/** Finish only the intents. Without any, the filesystem may be one that is supported read-only. */
function cleanLog(device: Device, log: ReplayedLog | undefined): void {
  if (!log) return
  if (log.intents.length > 0) complete(device, log, () => undefined)
  else {
    new LogWriter(device, Volume.open(device, { needsRepair: true }).geometry, log.state).unmount()
    device.flush()
  }
  requireClean(device)
}

/** @returns the problems that would be left */
function rehearse(device: Device, log: ReplayedLog | undefined): string | undefined {
  const copy = overlay(device)
  complete(copy, log, finishAll)
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
