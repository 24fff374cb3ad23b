import { isDots } from '../dir/read.ts'
import { XfsError } from '../errors.ts'

/** Names of an image that are used on the host. They are not trusted. */

const SLASH = 0x2f

/**
 * Verify that a name is valid in a directory of the host, and does not escape it.
 * @throws XfsError CORRUPT
 */
export function checkOutgoing(name: Uint8Array): void {
  if (name.length === 0 || isDots(name) || name.includes(SLASH) || name.includes(0))
    throw new XfsError('CORRUPT', 'invalid file name')
}

/** Device names of Windows, reserved in every folder and with any extension. */
const WINDOWS_DEVICE =
  /^(con|prn|aux|nul|conin\$|conout\$|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]) *(\.|$)/i
/** Separators, streams, patterns and control characters; and endings that Windows removes. */
const WINDOWS_OTHER = /[<>:"|?*\\\p{Cc}]|[. ]$/u

/**
 * Refuse names with a special meaning on Windows: devices, streams of another file, paths.
 * @throws XfsError INVAL
 */
export function checkHostName(name: Uint8Array, platform: NodeJS.Platform = process.platform): void {
  const text = Buffer.from(name).toString('utf8')
  if (platform === 'win32' && (WINDOWS_DEVICE.test(text) || WINDOWS_OTHER.test(text)))
    throw new XfsError('INVAL', 'invalid file name on Windows')
}

/** `path` with a name appended. */
export function below(path: Uint8Array, name: Uint8Array): Buffer {
  const joined = Buffer.allocUnsafe(path.length + 1 + name.length)
  joined.set(path)
  joined[path.length] = SLASH
  joined.set(name, path.length + 1)
  return joined
}
