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
  /** @throws XfsError NOSPC (disk full) or IO. */
  write(bytes: Uint8Array, position: number): void
  /** Make `length` bytes zero, as a hole where the device can. */
  zero(position: number, length: number): void
  /** Return when all that was written is durable. */
  flush(): void
  close(): void
}
