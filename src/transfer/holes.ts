import { isZero } from '#native'
import type { ContentRun, NewContent } from '../namespace/newcontent.ts'

/** Ranges of blocks that are not all zero; the kept blocks are moved together. */
export function withoutZeros(
  bytes: Uint8Array,
  size: number,
  blocks: number,
  at: number,
  blocksize: number,
): NewContent {
  const runs: ContentRun[] = []
  let kept = 0
  let start = -1
  const close = (end: number): void => {
    if (start < 0) return
    runs.push({ startoff: start, blockcount: end - start, at: at + kept })
    if (kept !== start) bytes.copyWithin(kept * blocksize, start * blocksize, end * blocksize)
    kept += end - start
    start = -1
  }
  for (let block = 0; block < blocks; block++) {
    if (isZero(bytes, block * blocksize, (block + 1) * blocksize)) close(block)
    else if (start < 0) start = block
  }
  close(blocks)
  return { size, runs }
}
