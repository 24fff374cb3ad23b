import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { requireDevice } from './arguments.ts'

/** Devices that are being changed. Files of the host are locked besides. */
const writers = new WeakSet<Device>()

/**
 * Only one at a time changes a device.
 * @returns a function that releases it
 * @throws XfsError BUSY
 */
export function claim(device: Device): () => void {
  requireDevice(device)
  if (writers.has(device)) throw new XfsError('BUSY', 'the device is being changed')
  writers.add(device)
  return () => void writers.delete(device)
}

/** Let `action` change the device. @throws XfsError BUSY */
export async function claimed<T>(device: Device, action: () => T | Promise<T>): Promise<T> {
  const release = claim(device)
  try {
    return await action()
  } finally {
    release()
  }
}
