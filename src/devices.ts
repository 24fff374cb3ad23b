/**
 * xfskit/device: where images are stored. A `Device` is bytes at an offset; `XfsImage.open`,
 * `mkfs`, `check` and `repair` take one in place of a path.
 *
 * @packageDocumentation
 */
export type { Device, DeviceBehind } from './device/device.ts'
export { type CreateOptions, copyDevice, copyFile, createFile, openFile } from './device/file.ts'
export type { HostPath } from './device/hostpath.ts'
export { memoryDevice } from './device/memory.ts'
export { type Overlay, overlay } from './device/overlay.ts'
export { findPartition, type Partition, partitions } from './device/partition.ts'
export { openPlace, type Place, type Placed } from './device/place.ts'
export { type DeviceEvent, deviceAfter, type Recorder, record } from './device/record.ts'
export { window } from './device/window.ts'
