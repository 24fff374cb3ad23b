import type { Device } from '../device/device.ts'
import { notXfs } from '../device/notxfs.ts'
import { XfsError } from '../errors.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'

/** The primary superblock, or why the filesystem cannot be opened with it. */
export type Primary =
  | { readonly sb: Superblock }
  | { readonly view: DataView | undefined; readonly reason: string; readonly error: () => XfsError }

/** Read the primary superblock. Its checksum may be wrong: a check reports that. */
export function readPrimary(device: Device): Primary {
  const notAnImage = (): XfsError =>
    new XfsError('INVAL', `not an XFS image: ${notXfs(device)}`, { type: 'sb', field: 'magicnum' })
  if (device.size < Superblock.size) return { view: undefined, reason: 'it is missing', error: notAnImage }
  const view = new DataView(new ArrayBuffer(Superblock.size))
  try {
    device.read(new Uint8Array(view.buffer), 0)
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'IO') throw error
    return { view: undefined, reason: `it cannot be read: ${error.message}`, error: () => error }
  }
  if (Superblock.fields.magicnum.get(view, 0) !== SB_MAGIC)
    return { view, reason: 'its magic number is wrong', error: notAnImage }
  const sb = Superblock.decode(view)
  const fault = checkSuperblock(sb)
  if (!fault) return { sb }
  const { field, message } = fault
  const error = (): XfsError =>
    new XfsError('CORRUPT', `superblock: ${message}`, { type: 'sb', ...(field ? { field } : {}) })
  return { view, reason: message, error }
}
