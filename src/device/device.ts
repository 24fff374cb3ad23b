import { XfsError } from '../errors.ts'

/**
 * Bytes at an offset: the interface to storage for the layers above. Synchronous. Implementations:
 * file, memory, window (a partition), overlay (a dry run), record (every write in order, for crash
 * tests).
 */
export interface Device {
  /** Bytes. */
  readonly size: number
  readonly readOnly: boolean
  /**
   * Fill `into` from `position`.
   * @throws XfsError IO past the end of the device, or if it fails.
   */
  read(into: Uint8Array, position: number): void
  /** @throws XfsError IO, also if the host's disk is full: NOSPC means that the image is full. */
  write(bytes: Uint8Array, position: number): void
  /** Zero `length` bytes, as a hole if the device supports that. */
  zero(position: number, length: number): void
  /** Writes in the background, if the device supports that. */
  readonly behind?: DeviceBehind
  /** Wait until everything written is durable. */
  flush(): void
  close(): void
}

/** Writes that happen at any time before `settle`. Until then those ranges must not be accessed. */
export interface DeviceBehind {
  /** Write bytes in shared memory, which must not change until `settle`. */
  write(bytes: Uint8Array, position: number): void
  /** Wait until all writes are done. @throws XfsError IO if some failed */
  settle(): void
}

/** Sector sizes in bytes: logical and physical. */
export interface SectorSizes {
  readonly logical: number
  readonly physical: number
}

/** @throws XfsError IO if [position, position + length) is not on the device */
export function checkRange(device: Device, action: string, position: number, length: number): void {
  if (position >= 0 && length >= 0 && Number.isSafeInteger(position) && position + length <= device.size) return
  throw new XfsError('IO', `${action} of ${length} bytes at ${position}: the device has ${device.size} bytes`)
}

/** @throws XfsError IO if the range is not on the device or the device is read-only */
export function checkWrite(device: Device, position: number, length: number): void {
  if (device.readOnly) throw new XfsError('IO', 'the device was opened read-only')
  checkRange(device, 'write', position, length)
}
