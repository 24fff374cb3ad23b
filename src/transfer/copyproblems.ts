/** Problems of a copy: each is reported as it occurs, and counted. */
export interface CopyProblem {
  readonly path: Uint8Array
  readonly message: string
  readonly code?: string
}

export class CopyProblems {
  readonly #tell: (problem: CopyProblem) => void
  readonly list: CopyProblem[] = []
  count = 0

  constructor(tell: (problem: CopyProblem) => void) {
    this.#tell = tell
  }

  add(path: Uint8Array, what: unknown): void {
    const message = typeof what === 'string' ? what : what instanceof Error ? what.message : String(what)
    const code = (what as { code?: unknown } | undefined)?.code
    const problem = { path, message, ...(typeof code === 'string' ? { code } : {}) }
    this.count++
    if (this.list.length < KEPT) this.list.push(problem)
    this.#tell(problem)
  }
}

/** Maximum problems that are kept; all are counted. */
const KEPT = 1000
