import { checkRange, checkWrite, type Device } from './device.ts'
import { Pages } from './pages.ts'

/**
 * A device of `size` zero bytes in memory; only written pages take space. `content` holds its first
 * bytes.
 */
export function memoryDevice(size: number, content?: Uint8Array): Device {
  const pages = new Pages()
  const device: Device = {
    size,
    readOnly: false,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      pages.read(into, position, (part) => part.fill(0))
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      pages.write(bytes, position)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      pages.drop(position, length)
    },
    flush() {},
    close() {},
  }
  if (content) device.write(content, 0)
  return device
}
