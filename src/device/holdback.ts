import { checkRange, checkWrite, type Device } from './device.ts'

/** A device whose first sector stays zero until everything else is written. */
interface HeldBack extends Device {
  /** Write the first sector. All writes are durable when this returns. */
  release(): void
}

const SECTOR = 512

/**
 * `base`, but writes to its first sector stay in memory. A filesystem that is created through it is
 * not valid on disk before `release`, even if the process is killed. Closing it closes `base`.
 */
export function holdBack(base: Device): HeldBack {
  const first = new Uint8Array(SECTOR)
  base.read(first, 0)
  const { behind } = base
  const device: HeldBack = {
    size: base.size,
    readOnly: base.readOnly,
    read(into, position) {
      checkRange(device, 'read', position, into.length)
      const held = Math.min(into.length, Math.max(0, SECTOR - position))
      if (held > 0) into.set(first.subarray(position, position + held))
      if (held < into.length) base.read(into.subarray(held), position + held)
    },
    write(bytes, position) {
      checkWrite(device, position, bytes.length)
      const held = Math.min(bytes.length, Math.max(0, SECTOR - position))
      if (held > 0) first.set(bytes.subarray(0, held), position)
      if (held < bytes.length) base.write(bytes.subarray(held), position + held)
    },
    zero(position, length) {
      checkWrite(device, position, length)
      // The old first sector is erased at once.
      first.fill(0, position, Math.min(SECTOR, position + length))
      base.zero(position, length)
    },
    ...(behind && {
      behind: {
        write(bytes: Uint8Array, position: number) {
          if (position < SECTOR) device.write(bytes, position)
          else behind.write(bytes, position)
        },
        settle: () => behind.settle(),
      },
    }),
    flush: () => base.flush(),
    close: () => base.close(),
    release() {
      base.flush()
      base.write(first, 0)
      base.flush()
    },
  }
  return device
}
