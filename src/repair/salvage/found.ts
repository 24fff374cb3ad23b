import { InodeState, type Inodes } from '../../check/observe/inodetable.ts'

/** An entry as it was found; nothing is certain of it. */
export interface FoundEntry {
  readonly name: Uint8Array
  readonly ino: number
  readonly ftype: number
}

/** What can be read of a directory, whatever else of it is damaged. */
export interface Salvaged {
  /** The target of "..". */
  readonly parent: number | undefined
  /** The entries, without "." and "..". */
  readonly entries: readonly FoundEntry[]
}

export const isInUse = (inodes: Inodes, slot: number): boolean =>
  slot >= 0 && inodes.state.get(slot) === InodeState.sound && inodes.mode.get(slot) !== 0
