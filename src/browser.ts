/**
 * xfskit in a browser: filesystems in memory, or on a `Device` of the page. What is exported here
 * is public, the other modules may change. It needs no Node: `npm run lint` follows its imports.
 */
export { describe as describeFinding } from './check/findings.ts'
export { type Finding, type ProblemId, problems } from './check/problems.ts'
export type { CheckResult } from './check/result.ts'
export type { Device } from './device/device.ts'
export { memoryDevice } from './device/memory.ts'
export { type Overlay, overlay } from './device/overlay.ts'
export { findPartition, type Partition, partitions } from './device/partition.ts'
export { window } from './device/window.ts'
export { type ErrorCode, type Where, XfsError } from './errors.ts'
export type { Geometry } from './format/geometry.ts'
export { type MkfsDeviceOptions, type MkfsResult, mkfs } from './mkfs/mkfs.ts'
export { escapeBytes, unescapeBytes } from './util/escape.ts'
export type { Progress } from './util/progress.ts'
export { XfsImageCore as XfsImage } from './xfsimage/core.ts'
export { type FileRef, XfsFile } from './xfsimage/file.ts'
export { type Fingerprint, requireSame } from './xfsimage/fingerprint.ts'
export type { OpenOptions } from './xfsimage/opening.ts'
export type { LongOptions } from './xfsimage/run.ts'
export { Dirent, Stats, type TimeLike } from './xfsimage/stats.ts'
