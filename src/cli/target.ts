import { XfsError } from '../errors.ts'
import { splitPath } from '../xfsimage/paths.ts'
import type { XfsImage } from '../xfsimage/xfsimage.ts'
import { imagePath } from './arguments.ts'

const SLASH = Buffer.from('/')

/**
 * The destination of `source`: `target`, or a name in it if it is a directory.
 *
 * @throws XfsError NOTDIR for several sources and a target that is not a directory
 */
export function intoDirectory(image: XfsImage, target: string, source: string, count: number): Uint8Array {
  const path = imagePath(target)
  if (!image.exists(path) || !image.stat(path).isDirectory()) {
    if (count > 1) throw new XfsError('NOTDIR', `${target}: not a directory`)
    return path
  }
  return Buffer.concat([path, SLASH, splitPath(imagePath(source)).at(-1) ?? new Uint8Array(0)])
}
