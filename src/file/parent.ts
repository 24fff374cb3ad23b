import { AttrFlags, parseParentRec } from '../format/attr.ts'
import type { BlockReader } from '../volume.ts'
import { attributes } from './attr-read.ts'
import type { Inode } from './inode.ts'

/**
 * Parent pointers: for each entry that leads to an inode the inode keeps an attribute in a namespace of its own; its name is the
 * entry's name, its value says which directory. The root has none. Kept by namespace.ts where the filesystem has the feature.
 */
export interface ParentPointer {
  /** The directory. */
  readonly ino: number
  /** Its generation. */
  readonly gen: number
  /** The name in it. */
  readonly name: Uint8Array
}

/** The parent pointers of an inode. @throws XfsError CORRUPT */
export function* parentPointers(inode: Inode, reader: BlockReader = inode.volume): Generator<ParentPointer> {
  for (const attr of attributes(inode, reader)) {
    if (attr.space !== AttrFlags.parent) continue
    const { inumber, gen } = parseParentRec(attr.read())
    yield { ino: inumber, gen, name: attr.name }
  }
}
