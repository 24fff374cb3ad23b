import { S_IFMT } from '../format/dinode.ts'
import { splitPath } from '../namespace/resolve.ts'
import { type FileTypeName, typeName } from '../namespace/stat.ts'
import type { Bytes } from '../util/bytes.ts'
import type { Child, DirRef, ImageWriter } from './intoimage.ts'
import { below } from './names.ts'

/** A name that `put` has put into the image. */
export interface PutName {
  /** In the image, absolute. */
  readonly path: Uint8Array
  /**
   * `replace`: a file of this name was removed. `merge`: a directory of this name got the
   * attributes of the other one.
   */
  readonly action: 'create' | 'replace' | 'merge'
  readonly type: FileTypeName | 'hard link'
  /** Bytes of a regular file. */
  readonly size?: Bytes
}

/** What was put, in order. What fails later is left out. */
export class PutLog {
  /** The directory of the image that paths are below. */
  top: Uint8Array = new Uint8Array(0)
  readonly #put: { readonly top: Uint8Array; readonly child: Child; readonly action: PutName['action'] }[] = []

  add(child: Child, action: PutName['action']): void {
    this.#put.push({ top: this.top, child, action })
  }

  /** When everything is committed. */
  *names(writer: ImageWriter): Generator<PutName> {
    for (const { top, child, action } of this.#put) {
      if (writer.failed(child as DirRef)) continue
      const path = absolute(below(top, child.path))
      if ('link' in child) yield { path, action, type: 'hard link' }
      else {
        const type = typeName(child.mode & S_IFMT)
        yield { path, action, type, ...(type === 'regular file' && { size: child.size ?? 0 }) }
      }
    }
  }
}

const SLASH = Buffer.from('/')

/** Without empty components and ".". */
const absolute = (path: Uint8Array): Uint8Array => {
  const parts = splitPath(path)
  return parts.length === 0 ? SLASH : Buffer.concat(parts.flatMap((part) => [SLASH, part]))
}
