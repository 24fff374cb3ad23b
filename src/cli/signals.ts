const caught: readonly NodeJS.Signals[] =
  process.platform === 'win32' ? ['SIGINT', 'SIGBREAK'] : ['SIGINT', 'SIGTERM', 'SIGHUP']

let seen: NodeJS.Signals | undefined
let users = 0
const waiting = new Set<() => void>()
const note = (signal: NodeJS.Signals): void => {
  seen ??= signal
  for (const wake of waiting) wake()
}

/** The signal that asked the program to stop, if one came while signals were held. */
export const stopSignal = (): NodeJS.Signals | undefined => seen

/** While `wait` runs, a signal that is held calls `wake`: for what waits for somebody else. */
export async function wakeable<T>(wake: () => void, wait: () => Promise<T>): Promise<T> {
  waiting.add(wake)
  try {
    return await wait()
  } finally {
    waiting.delete(wake)
  }
}

/**
 * While `change` runs, a signal does not end the process: it is noted, for whoever drives the work to stop between two steps.
 * Readers do not hold signals: they may die at any point.
 */
export async function holdSignals<T>(change: () => T | Promise<T>): Promise<T> {
  if (users++ === 0) for (const signal of caught) process.on(signal, note)
  try {
    return await change()
  } finally {
    await eventLoopTurn()
    if (--users === 0) for (const signal of caught) process.removeListener(signal, note)
  }
}

/** Let the event loop run once: signals that came arrive. */
export const eventLoopTurn = (): Promise<void> => new Promise((resolve) => setTimeout(() => setImmediate(resolve), 0))
