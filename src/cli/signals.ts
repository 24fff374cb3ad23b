import { turn } from '../xfsimage/run.ts'
import { Interrupted } from './status.ts'

const caught: readonly NodeJS.Signals[] =
  process.platform === 'win32' ? ['SIGINT', 'SIGBREAK'] : ['SIGINT', 'SIGTERM', 'SIGHUP']

let seen: NodeJS.Signals | undefined
let users = 0
const waiting = new Set<() => void>()
const stop = new AbortController()
const note = (signal: NodeJS.Signals): void => {
  seen ??= signal
  stop.abort(new Interrupted(signal))
  for (const wake of waiting) wake()
}

/** The signal that requested the program to stop, if one arrived while signals were held. */
export const stopSignal = (): NodeJS.Signals | undefined => seen

/** Aborted, with Interrupted, by the first signal that arrives while signals are held. */
export const stopped: AbortSignal = stop.signal

/** While `wait` runs, a held signal calls `wake`, to end a wait for another process. */
export async function wakeable<T>(wake: () => void, wait: () => Promise<T>): Promise<T> {
  waiting.add(wake)
  try {
    return await wait()
  } finally {
    waiting.delete(wake)
  }
}

/**
 * While `change` runs, a signal does not end the process: it is recorded, and the caller stops
 * between two steps. Readers do not hold signals: they may be killed at any point.
 */
export async function holdSignals<T>(change: () => T | Promise<T>): Promise<T> {
  if (users++ === 0) for (const signal of caught) process.on(signal, note)
  try {
    return await change()
  } finally {
    await turn()
    if (--users === 0) for (const signal of caught) process.removeListener(signal, note)
  }
}
