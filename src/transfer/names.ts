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

/** Names that Windows has for devices, in every folder and with any ending. */
const WINDOWS_DEVICE =
  /^(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(\.|$)/i
/** Separators, streams, patterns and control characters; and an end that Windows cuts off. */
const WINDOWS_OTHER = /[<>:"|?*\\\p{Cc}]|[. ]$/u

/**
 * Does the host take this name for itself? Windows takes some for devices, for streams of another file or for a path.
 * @throws XfsError INVAL
 */
export function checkHostName(name: Uint8Array, platform: NodeJS.Platform = process.platform): void {
  const text = Buffer.from(name).toString('utf8')
  if (platform === 'win32' && (WINDOWS_DEVICE.test(text) || WINDOWS_OTHER.test(text)))
    throw new XfsError('INVAL', 'a name that no file can have on Windows')
}

/** `path` with a name behind it. */
export function below(path: Uint8Array, name: Uint8Array): Buffer {
  const joined = Buffer.allocUnsafe(path.length + 1 + name.length)
  joined.set(path)
  joined[path.length] = SLASH
  joined.set(name, path.length + 1)
  return joined
}
