import { XfsError } from '../errors.ts'

/**
 * Bytes at an offset: all that the layers above know of storage. Synchronous. Implementations: file, memory, window (a partition),
 * overlay (a dry run), record (every write in order, for crash tests).
 */
export interface Device {
  /** Bytes. */
  readonly size: number
  readonly readOnly: boolean
  /** Fill `into` from `position`. @throws XfsError IO where the device ends before or fails. */
  read(into: Uint8Array, position: number): void
  /** @throws XfsError IO, also where the host's disk is full: NOSPC is an image without room. */
  write(bytes: Uint8Array, position: number): void
  /** Make `length` bytes zero, as a hole where the device can. */
  zero(position: number, length: number): void
  /** Where a device can write while its user goes on. */
  readonly behind?: DeviceBehind
  /** Return when all that was written is durable. */
  flush(): void
  close(): void
}

/** Writes that take place at any time before `settle`. Meanwhile nobody reads or writes those places. */
interface DeviceBehind {
  /** Of bytes in shared memory, which stay as they are until `settle`. */
  write(bytes: Uint8Array, position: number): void
  /** All of them are done. @throws XfsError IO: some are not */
  settle(): void
}

/** @throws XfsError IO where [position, position + length) is not on the device */
export function checkRange(device: Device, action: string, position: number, length: number): void {
  if (position >= 0 && length >= 0 && Number.isSafeInteger(position) && position + length <= device.size) return
  throw new XfsError('IO', `${action} of ${length} bytes at ${position}: the device has ${device.size} bytes`)
}

/** @throws XfsError IO where the range is not on the device or the device is read-only */
export function checkWrite(device: Device, position: number, length: number): void {
  if (device.readOnly) throw new XfsError('IO', 'the device was opened for reading only')
  checkRange(device, 'write', position, length)
}
