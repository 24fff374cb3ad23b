import type { Progress, Steps } from '../util/progress.ts'

/** Options of methods that may take long. */
export interface LongOptions {
  /** Stops the work after its current step: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Called after each step. */
  readonly onProgress?: (progress: Progress) => void
}

/** Milliseconds of work between two turns of the event loop. */
const TURN_MS = 50

/**
 * Run steps to the end, with turns of the event loop between them, in which a signal can arrive.
 * @param between  called after each step; the next one waits for what it returns
 * @throws the reason of `signal`, and what the steps throw
 */
export async function run<T>(
  steps: Steps<T>,
  { signal, onProgress }: LongOptions,
  between?: () => Promise<void> | undefined,
): Promise<T> {
  let turned = performance.now()
  try {
    for (;;) {
      signal?.throwIfAborted()
      const step = steps.next()
      if (step.done) return step.value
      onProgress?.(step.value)
      const wait = between?.()
      if (wait) await wait
      if (performance.now() - turned < TURN_MS) continue
      await turn()
      turned = performance.now()
    }
  } finally {
    // An interrupted generator may clean up.
    steps.return(undefined as never)
  }
}

/** Of Node; browsers have none. */
const { setImmediate: immediately = (call: () => void) => call() } = globalThis as {
  setImmediate?: (call: () => void) => void
}

/** One turn of the event loop: timers, input and signals are handled. */
export const turn = (): Promise<void> => new Promise((resolve) => setTimeout(() => immediately(resolve), 0))
