/**
 * xfskit as a library: make, fill, read, change, check and repair XFS image files without mounting
 * them. `XfsImage` is an opened image; it owns the rules of what may be changed. `xfskit/promises`
 * is the same in a worker, in the form of `node:fs/promises`. What is exported here is public, the
 * other modules may change.
 *
 * @packageDocumentation
 */
export type { AttributeChanges, FlagChanges } from './attr/setattr.ts'
export { describe as describeFinding, type Findings } from './check/findings.ts'
export { type Finding, type FixClass, type Problem, type ProblemId, problemOf, problems } from './check/problems.ts'
export type { CheckResult } from './check/result.ts'
export type { DumpOptions } from './db/dump.ts'
export type { RowForm } from './db/rows.ts'
export type { Device, SectorSizes } from './device/device.ts'
export type { HostPath } from './device/hostpath.ts'
export type { Mounted } from './device/mounted.ts'
export type { Place } from './device/place.ts'
export { type ErrorCode, type Where, XfsError } from './errors.ts'
export type { Feature, Features, FeatureWord } from './format/features.ts'
export type { Daddr, Fsbno, Geometry, Ino } from './format/geometry.ts'
export type { ReportedFeatures, ReportedGeometry } from './format/report.ts'
export type { Superblock } from './format/sb.ts'
export type { Timestamp } from './format/time.ts'
export type { AgTreeName, TreeName } from './format/trees.ts'
export type { ForkName } from './inode/inode.ts'
export type { Statfs } from './inode/statfs.ts'
export type { MkfsFeature, MkfsOptions } from './mkfs/options.ts'
export type { FindOptions, Test as FindTest } from './namespace/find.ts'
export type { PathLike } from './namespace/namespace.ts'
export type { BlockOwner, BlockPlace } from './namespace/owners.ts'
export type { Stat } from './namespace/stat.ts'
export type { Leftovers } from './recovery/leftovers.ts'
export type { Recovered } from './recovery/recover.ts'
export type { DedupeResult } from './reflink/dedupe.ts'
export type { FsrOptions, FsrResult, SharedPolicy } from './reflink/fsr.ts'
export type { RangeRequest } from './reflink/range.ts'
export type { CloneResult } from './reflink/reflink.ts'
export type { UnshareResult } from './reflink/unshare.ts'
export type { ExtentPlace } from './repair/actions.ts'
export type { DiscardedLog } from './repair/discardlog.ts'
export type { Doubt } from './repair/doubt.ts'
export { isWrong, type RepairOptions, type RepairResult } from './repair/repair.ts'
export type { SpaceOwner, SpaceRecord } from './space/fsmap.ts'
export type { CopyProblem } from './transfer/copyproblems.ts'
export type { TransferResult } from './transfer/put.ts'
export type { PutName } from './transfer/putlog.ts'
export type { Bytes } from './util/bytes.ts'
export { escapeBytes, unescapeBytes } from './util/escape.ts'
export type { Progress } from './util/progress.ts'
export type { Range } from './xfsimage/arguments.ts'
export type { Extent, OwnedSpace, OwnerCount, Share, SpaceUsage } from './xfsimage/blocks.ts'
export type { StreamOptions, WriteOptions } from './xfsimage/changing.ts'
export type { ChangeOptions, WorkOptions } from './xfsimage/edit.ts'
export { type FileRef, XfsFile } from './xfsimage/file.ts'
export { type Fingerprint, requireSame } from './xfsimage/fingerprint.ts'
export type { ByteStream, HostTarget } from './xfsimage/host.ts'
export type { Io, IoOptions, IoRecord, OpenFlags } from './xfsimage/io.ts'
export { type Made, type MakeOptions, mkfs } from './xfsimage/mkfs.ts'
export type { OpenOptions, Warning } from './xfsimage/opening.ts'
export type { Walked } from './xfsimage/reading.ts'
export {
  actionText,
  type CheckOptions,
  type CheckTargetResult,
  check,
  type RecoverResult,
  type RepairAction,
  type RepairTargetOptions,
  type RepairTargetResult,
  recover,
  repair,
} from './xfsimage/repairs.ts'
export type { LongOptions } from './xfsimage/run.ts'
export { Dirent, type StatData, Stats, type TimeLike } from './xfsimage/stats.ts'
export type { ReadStreamOptions, WriteStreamOptions } from './xfsimage/streams.ts'
export type { GetOptions, PutFrom, PutOptions, PutRule } from './xfsimage/transfer.ts'
export { type UndoResult, undo } from './xfsimage/undo.ts'
export {
  type EditOptions,
  type FileOpenOptions,
  type ImageTarget,
  type Plan,
  type ViewOptions,
  XfsImage,
} from './xfsimage/xfsimage.ts'
