import { INODES_PER_CHUNK } from '../../format/dinode.ts'
import { u32Column } from '../../util/columns.ts'
import type { InodeRecords } from '../observe/agtrees.ts'
import { InodeState, type Inodes } from '../observe/inodetable.ts'

/** The records that inobt should have: one per chunk, derived from the inodes. */
export class ExpectedChunks {
  readonly agino = u32Column()
  readonly holemask = u32Column()
  readonly count = u32Column()
  readonly freecount = u32Column()
  readonly freeHi = u32Column()
  readonly freeLo = u32Column()
  get length(): number {
    return this.agino.length
  }
}

/** Inodes of an AG. */
export interface InodeTotals {
  readonly count: number
  readonly free: number
}

export function inodeTotals(chunks: ExpectedChunks): InodeTotals {
  let count = 0
  let free = 0
  for (let i = 0; i < chunks.length; i++) {
    count += chunks.count.get(i)
    free += chunks.freecount.get(i)
  }
  return { count, free }
}

/**
 * @param recorded  the free mask of a record, for inodes whose core cannot be read: [high, low]
 *   words
 */
export function expectedChunks(
  inodes: Inodes,
  agno: number,
  recorded: (agino: number) => readonly [number, number],
): ExpectedChunks {
  const out = new ExpectedChunks()
  for (const { agino, chunk } of inodes.chunks(agno)) {
    const words: [number, number] = [0, 0] // low, high
    let holemask = 0
    let present = 0
    let free = 0
    for (let i = 0; i < INODES_PER_CHUNK; i++) {
      const slot = chunk * INODES_PER_CHUNK + i
      const state = inodes.state.data[slot]
      const bit = (1 << (i & 31)) >>> 0
      const word = i < 32 ? 0 : 1
      let isFree: boolean
      if (state === InodeState.none) {
        holemask |= 1 << (i >> 2)
        isFree = true
      } else {
        present++
        isFree =
          state === InodeState.sound
            ? inodes.mode.data[slot] === 0
            : ((recorded(agino)[1 - word] as number) & bit) !== 0
        if (isFree) free++
      }
      if (isFree) words[word] = (words[word] | bit) >>> 0
    }
    out.agino.push(agino)
    out.holemask.push(holemask)
    out.count.push(present)
    out.freecount.push(free)
    out.freeHi.push(words[1])
    out.freeLo.push(words[0])
  }
  return out
}

/** The free mask that inobt records for a chunk. */
export function recordedFree(records: InodeRecords): (agino: number) => readonly [number, number] {
  let byAgino: Map<number, readonly [number, number]> | undefined
  return (agino) => {
    if (!byAgino) {
      byAgino = new Map()
      for (let i = 0; i < records.length; i++)
        byAgino.set(records.startino.get(i), [records.freeHi.get(i), records.freeLo.get(i)])
    }
    return byAgino.get(agino) ?? [0, 0]
  }
}
