import { checkWrite, type Device } from '../../src/device/device.ts'

/**
 * A device whose writes fail with `error` after `count` of them: a disk that is full, a killed
 * writer.
 */
export function failing(base: Device, count: number, error: () => Error): Device {
  let left = count
  const spend = (): void => {
    if (left-- <= 0) throw error()
  }
  return {
    size: base.size,
    readOnly: base.readOnly,
    read: (into, position) => base.read(into, position),
    write(bytes, position) {
      spend()
      base.write(bytes, position)
    },
    zero(position, length) {
      checkWrite(base, position, length)
      spend()
      base.zero(position, length)
    },
    flush: () => base.flush(),
    close: () => base.close(),
  }
}
