import { XfsError } from '../errors.ts'
import { checkRange, checkWrite, type Device } from './device.ts'

/**
 * `base` as a device of `size` bytes that begins with `start`, until that is written. Bytes past
 * the end of `base` can be neither read nor written: the image is truncated.
 */
export function patched(base: Device, size: number, start: Uint8Array): Device {
  let pending = start.length > 0
  const present = (action: string, position: number, length: number): void => {
    if (position + length <= base.size) return
    throw new XfsError('IO', `${action} of ${length} bytes at ${position}: the image ends at ${base.size}`)
  }
  /** Something is written over the start: what it leaves of it is written first. */
  const settle = (position: number): void => {
    if (!pending || position >= start.length) return
    pending = false
    base.write(start, 0)
  }
  const device: Device = {
    size,
    readOnly: base.readOnly,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      const own = pending ? Math.max(0, Math.min(start.length - position, into.length)) : 0
      into.set(start.subarray(position, position + own))
      if (own === into.length) return
      present('read', position, into.length)
      base.read(into.subarray(own), position + own)
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      present('write', position, bytes.length)
      if (position > 0 || bytes.length < start.length) settle(position)
      else pending = false
      base.write(bytes, position)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      present('write', position, length)
      settle(position)
      base.zero(position, length)
    },
    ...(base.behind && {
      behind: {
        write(bytes: Uint8Array, position: number) {
          present('write', position, bytes.length)
          settle(position)
          base.behind?.write(bytes, position)
        },
        settle: () => base.behind?.settle(),
      },
    }),
    flush: () => base.flush(),
    close: () => base.close(),
  }
  return device
}
