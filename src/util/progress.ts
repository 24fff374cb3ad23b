/**
 * A long operation is a generator. It yields its progress at points where it can be ended:
 * everything committed by then is complete. The caller may show a progress bar, or end the
 * operation (`return`) between two steps.
 */
export interface Progress {
  /** A name of the operation, for display. */
  readonly what: string
  readonly done: number
  readonly total?: number
}

/** Work with progress, and its result. */
export type Steps<T> = Generator<Progress, T>

/** Run to the end and ignore the progress. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
  }
}
