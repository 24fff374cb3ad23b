/** A problem of a copy. Each is reported when it occurs, and counted. */
export interface CopyProblem {
  readonly path: Uint8Array
  readonly message: string
  readonly code?: string
}

export class CopyProblems {
  readonly #report: (problem: CopyProblem) => void
  readonly list: CopyProblem[] = []
  count = 0

  constructor(report: (problem: CopyProblem) => void) {
    this.#report = report
  }

  add(path: Uint8Array, what: unknown): void {
    const message = typeof what === 'string' ? what : what instanceof Error ? what.message : String(what)
    const code = (what as { code?: unknown } | undefined)?.code
    const problem = { path, message, ...(typeof code === 'string' ? { code } : {}) }
    this.count++
    if (this.list.length < KEPT) this.list.push(problem)
    this.#report(problem)
  }
}

/** Maximum problems that are kept; all are counted. */
const KEPT = 1000
