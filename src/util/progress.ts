/**
 * Long work is a generator that yields how far it is, at points where it could stop for good: what was committed up to there is complete. Whoever drives
 * it may show a bar, or end it (`return`) between two steps.
 */
export interface Progress {
  /** What is being done, for people. */
  readonly what: string
  readonly done: number
  readonly total?: number
}

/** Work with progress, and its result. */
export type Steps<T> = Generator<Progress, T>

/** Run to the end without looking at the progress. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}
