import type { FoundAttr } from '../salvage/attributes.ts'
import type { FoundEntry } from '../salvage/found.ts'

/**
 * One ordinary change of names on an image that is sound enough to open, as plain data: what is
 * rehearsed is what is done.
 */
export type NameStep =
  /** Write the directory anew with these entries. `dropped` entries are not among them. */
  | {
      readonly step: 'directory'
      readonly ino: number
      readonly parent: number
      readonly entries: readonly FoundEntry[]
      readonly dropped: number
    }
  /** Write the attribute fork anew. */
  | { readonly step: 'attributes'; readonly ino: number; readonly attrs: readonly FoundAttr[] }
  /** Write a symbolic link anew. */
  | { readonly step: 'symlink'; readonly ino: number; readonly target: Uint8Array }
  /** Free an inode whose content is beyond reading. */
  | { readonly step: 'discard'; readonly ino: number }
  /**
   * Give a disconnected inode a name. Without `dir`, in lost+found. With `replace`, an entry of that
   * name is wrong: it points to another inode.
   */
  | {
      readonly step: 'connect'
      readonly ino: number
      readonly dir: number | undefined
      readonly name: Uint8Array
      readonly replace: boolean
    }
  /** Set "..". */
  | { readonly step: 'parent'; readonly ino: number; readonly parent: number }
  /** Set the number of links; an inode with links is on no unlinked list. */
  | { readonly step: 'links'; readonly ino: number; readonly nlink: number }
  /** Set the parent pointers. */
  | {
      readonly step: 'pointers'
      readonly ino: number
      readonly remove: readonly Pointer[]
      readonly add: readonly Pointer[]
    }

/** A parent pointer. */
export interface Pointer {
  readonly ino: number
  readonly gen: number
  readonly name: Uint8Array
}
