import { XfsError } from '../errors.ts'

/** Names of an image, on their way out: they come from bytes that nobody vouches for. */

const SLASH = 0x2f

/**
 * May a file of this name be made in a directory of the host? No name leads out of its directory.
 * @throws XfsError CORRUPT
 */
export function checkOutgoing(name: Uint8Array): void {
  const dots = name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e))
  if (name.length === 0 || dots || name.includes(SLASH) || name.includes(0))
    throw new XfsError('CORRUPT', 'a name that no file can have')
}

/** `path` with a name behind it. */
export function below(path: Uint8Array, name: Uint8Array): Buffer {
  const joined = Buffer.allocUnsafe(path.length + 1 + name.length)
  joined.set(path)
  joined[path.length] = SLASH
  joined.set(name, path.length + 1)
  return joined
}
