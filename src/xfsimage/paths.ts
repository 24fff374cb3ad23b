import { splitPath } from '../namespace/resolve.ts'

/** Paths in an image, as bytes. */
export { splitPath }

const SLASH = 0x2f

/** The path of the directory that the last component is in. */
export function parentPath(path: Uint8Array): Uint8Array {
  const parts = splitPath(path).slice(0, -1)
  return Uint8Array.from(parts.flatMap((part) => [SLASH, ...part]))
}
