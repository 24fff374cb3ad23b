import type { Progress } from '../util/progress.ts'
import { type LongOptions, turn } from '../xfsimage/run.ts'
import { stopped } from './signals.ts'

const TURN_MS = 50
const QUIET_MS = 1000
const REDRAW_MS = 100
const BAR = 30

let turned = 0

/** Between two steps: check from time to time whether a signal arrived. @throws Interrupted */
export async function pause(): Promise<void> {
  if (performance.now() - turned < TURN_MS) return
  await turn()
  turned = performance.now()
  stopped.throwIfAborted()
}

/**
 * Call a method that may take long, with the signals that are held and with progress: after a
 * second a bar on standard error, if that is a terminal.
 * @throws Interrupted
 */
export async function withProgress<T>(start: (options: LongOptions) => Promise<T>): Promise<T> {
  const bar = process.stderr.isTTY ? new Bar(performance.now()) : undefined
  try {
    return await start({ signal: stopped, onProgress: (progress) => bar?.show(progress, performance.now()) })
  } finally {
    bar?.clear()
  }
}

class Bar {
  readonly #start: number
  #drawn = 0
  #visible = false

  constructor(start: number) {
    this.#start = start
  }

  show({ what, done, total }: Progress, now: number): void {
    if (now - this.#start < QUIET_MS || now - this.#drawn < REDRAW_MS) return
    this.#drawn = now
    this.#visible = true
    const seconds = (now - this.#start) / 1000
    const text =
      total === undefined || total <= 0 ? runningLine(what, done, seconds) : progressLine(what, done / total, seconds)
    process.stderr.write(`\r${text.slice(0, (process.stderr.columns || 80) - 1)}\x1b[K`)
  }

  clear(): void {
    if (this.#visible) process.stderr.write('\r\x1b[K')
  }
}

/** `checking  ██████████░░░░░░░░░░  48 %  12 s left` */
export function progressLine(what: string, fraction: number, seconds: number): string {
  const part = Math.min(1, Math.max(0, fraction))
  const full = Math.round(part * BAR)
  const left = part > 0.02 ? `  ${Math.ceil((seconds * (1 - part)) / part)} s left` : ''
  return `${what}  ${'█'.repeat(full)}${'░'.repeat(BAR - full)}  ${Math.floor(part * 100)} %${left}`
}

const RUNNER = 6

/** `copying  ░░░░██████░░░░░░░░░░  1234`: a moving bar where the total is unknown. */
export function runningLine(what: string, done: number, seconds: number): string {
  const way = BAR - RUNNER
  const step = Math.floor(seconds * 10) % (2 * way)
  const at = step < way ? step : 2 * way - step
  return `${what}  ${'░'.repeat(at)}${'█'.repeat(RUNNER)}${'░'.repeat(way - at)}  ${done}`
}
