/**
 * Items that follow one another, of which some may be damaged.
 *
 *   │ item │ item │ ? damaged ? │ item │ item │ end
 *                 p             q
 *
 * An item is recognized by itself, and by the items after it, up to the end. Where that fails, the
 * next item from which on all are valid ends the damage.
 */
export interface Piece {
  readonly at: number
  readonly end: number
  /** All of it is one valid item; else damage, which may be one item of another length. */
  readonly valid: boolean
}

/**
 * @param sizeAt  bytes of a valid item at an offset; 0: there is none
 * @param step    items begin at multiples of it, counted from `from`
 */
export function chainOf(from: number, end: number, step: number, sizeAt: (at: number) => number): Piece[] {
  const slots = Math.floor((end - from) / step)
  /** Are all items valid from here to the end? */
  const sound = new Uint8Array(slots + 1)
  sound[slots] = 1
  const sizes = new Int32Array(slots)
  for (let i = slots - 1; i >= 0; i--) {
    const size = sizeAt(from + i * step)
    sizes[i] = size
    const next = i + size / step
    if (size > 0 && next <= slots) sound[i] = sound[next] as number
  }
  const pieces: Piece[] = []
  const push = (i: number, next: number, valid: boolean): void =>
    void pieces.push({ at: from + i * step, end: from + next * step, valid })
  for (let i = 0; i < slots; ) {
    const next = i + (sizes[i] as number) / step
    if ((sizes[i] as number) > 0 && next <= slots && sound[next] === 1) {
      push(i, next, true)
      i = next
      continue
    }
    let resume = i + 1
    while (resume < slots && sound[resume] === 0) resume++
    push(i, resume, false)
    i = resume
  }
  return pieces
}

/**
 * As `chainOf`, for items that are certain by themselves: those before and after damage are valid
 * even if the end is not reached from them.
 */
export function certainItems(from: number, end: number, step: number, sizeAt: (at: number) => number): Piece[] {
  const pieces: Piece[] = []
  for (let at = from; at < end; ) {
    const size = sizeAt(at)
    if (size > 0 && at + size <= end) {
      pieces.push({ at, end: at + size, valid: true })
      at += size
      continue
    }
    let resume = at + step
    while (resume < end && sizeAt(resume) === 0) resume += step
    pieces.push({ at, end: Math.min(resume, end), valid: false })
    at = resume
  }
  return pieces
}
