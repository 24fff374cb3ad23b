import { XfsError } from '../errors.ts'
import { checkRange, checkWrite, type Device } from './device.ts'

/**
 * `size` bytes of `base` from `offset`, as a device of their own: a filesystem inside a partitioned
 * disk. Closing it closes `base`.
 */
export function window(base: Device, offset: number, size = base.size - offset): Device {
  if (!(offset >= 0 && size >= 0 && offset + size <= base.size)) {
    throw new XfsError('IO', `bytes ${offset} to ${offset + size} exceed the image size of ${base.size} bytes`)
  }
  const { behind } = base
  const device: Device = {
    size,
    readOnly: base.readOnly,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      base.read(into, offset + position)
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      base.write(bytes, offset + position)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      base.zero(offset + position, length)
    },
    ...(behind && {
      behind: {
        write(bytes: Uint8Array, position: number) {
          checkWrite(device, position, bytes.length)
          behind.write(bytes, offset + position)
        },
        settle: () => behind.settle(),
      },
    }),
    flush: () => base.flush(),
    close: () => base.close(),
  }
  return device
}
