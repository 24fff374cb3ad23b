import { XfsError } from '../errors.ts'
import { type Inode, openInode } from '../inode/inode.ts'
import type { PathLike } from '../namespace/namespace.ts'
import { resolve } from '../namespace/resolve.ts'
import type { Volume } from '../volume.ts'

/**
 * A file of an image, whatever its names are: what `XfsImage.open` of a path returns, and what
 * every method takes in place of a path. It needs no closing. After the file was removed, methods
 * fail with STALE.
 */
export class XfsFile {
  readonly ino: number
  /** Differs between two files that had the same inode number one after the other. */
  readonly generation: number

  constructor({ ino, generation }: { readonly ino: number; readonly generation: number }) {
    this.ino = ino
    this.generation = generation
  }
}

/** A path in the image, from its root; bytes where it is not UTF-8. Or a file from `file`. */
export type FileRef = PathLike | XfsFile

/** @throws XfsError NOENT, NOTDIR, LOOP, NAMETOOLONG, INVAL, CORRUPT; STALE */
export function inodeOf(volume: Volume, ref: FileRef, follow: boolean): Inode {
  if (!(ref instanceof XfsFile)) return resolve(volume, ref, { follow })
  const inode = opened(volume, ref.ino)
  if (inode?.generation === ref.generation) return inode
  throw new XfsError('STALE', `inode ${ref.ino} is not that file any more`, { ino: ref.ino })
}

function opened(volume: Volume, ino: number): Inode | undefined {
  try {
    return openInode(volume, ino)
  } catch (error) {
    if (error instanceof XfsError && (error.code === 'NOENT' || error.code === 'INVAL')) return undefined
    throw error
  }
}
