import { readFileSync } from 'node:fs'
import type { Device } from '../device/device.ts'
import { fileExists, guarded } from '../device/file.ts'
import type { HostPath } from '../device/hostpath.ts'
import { writeOutput } from '../device/outputfile.ts'
import { overlay } from '../device/overlay.ts'
import { XfsError } from '../errors.ts'
import { geometryOf } from '../format/geometry.ts'
import { setNeedsRepair } from '../format/sb.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { readPrimary } from '../roots/primary.ts'
import { findRoots } from '../roots/roots.ts'
import { crc32c } from '../util/crc32c.ts'
import { type ChangeOptions, changeTarget } from './edit.ts'
import { type HostTarget, hostPathOf } from './host.ts'

/**
 * Undo files: the old content of every sector that a change writes. A change with an undo file
 * happens in memory first:
 *
 *   change in memory ─▶ undo file, flushed ─▶ NEEDSREPAIR ─▶ sectors ─▶ flush ─▶ sector 0
 *
 * Undoing it writes the old sectors in the same order. For each sector the file has the checksums of
 * all contents that it has meanwhile, so both may be interrupted and repeated, and undoing refuses
 * an image that was changed since.
 *
 *   xfskit undo 1 ⏎
 *   JSON: UUID, size of the device, runs of sectors with their checksums ⏎
 *   the old content of the runs
 *   CRC32C of everything before, little-endian
 */
const MAGIC = 'xfskit undo 1\n'
const SECTOR = 512
const NEWLINE = 0x0a
const CRC_SIZE = 4

interface Header {
  readonly uuid: string
  /** Of the device, in bytes. */
  readonly size: number
  readonly runs: readonly Run[]
}

/** Consecutive sectors. */
interface Run {
  /** Byte position on the device. */
  readonly start: number
  /** CRC32C of each sector: before the change, and after it. */
  readonly before: readonly number[]
  readonly after: readonly number[]
  /** Of sector 0: its checksums while the change or its undoing runs. */
  readonly marked?: readonly number[]
}

/**
 * Let `work` change the filesystem on `device`, and write an undo file before. There is none if
 * nothing changes. Until `work` has ended, changes are in memory.
 * @throws XfsError EXIST if a file with that name exists; what `work` throws
 */
export function withUndo<T>(device: Device, path: HostPath, work: (device: Device) => T): T {
  if (fileExists(path)) throw new XfsError('EXIST', `${String(path)} exists: an undo file is not replaced`)
  const copy = overlay(device)
  const result = work(copy)
  const runs = changedRuns(device, copy)
  if (runs.length === 0) return result
  const { sb } = findRoots(copy).geometry
  const old = runs.map(({ start, before }) => readSectors(device, start, before.length))
  // Sector 0 may be one that did not change: then the copy reads it from the device, which is marked.
  const first = readSectors(copy, 0, 1)
  writeOutput(path, undoFile({ uuid: sb.uuid, size: device.size, runs }, old))
  writeMarked(device, runs, (start, count) => (start === 0 ? first : readSectors(copy, start, count)))
  return result
}

export interface UndoResult {
  /** Bytes that got their old content. */
  readonly bytes: number
}

/**
 * Undo a change: write the sectors of an undo file back.
 * @throws XfsError STALE (another filesystem, or it was changed since), CORRUPT (not an undo file, or a
 *   damaged one); nothing is written then
 */
export async function undo(
  target: HostTarget | Device,
  file: HostTarget,
  options: Omit<ChangeOptions, 'output'> = {},
): Promise<UndoResult> {
  const { header, old } = readUndoFile(hostPathOf(file))
  return changeTarget(target, options, ({ device }) => {
    refuseChanged(device, header)
    writeMarked(device, header.runs, (start) => old.get(start) as Uint8Array)
    return { bytes: header.runs.reduce((sum, { before }) => sum + before.length * SECTOR, 0) }
  })
}

// ------------------------------------------------------------------------------------------- sectors

function readSectors(device: Device, start: number, count: number): Uint8Array {
  const bytes = new Uint8Array(Math.min(count * SECTOR, device.size - start))
  device.read(bytes, start)
  return bytes
}

const checksums = (bytes: Uint8Array): number[] =>
  Array.from({ length: Math.ceil(bytes.length / SECTOR) }, (_, i) =>
    crc32c(bytes.subarray(i * SECTOR, (i + 1) * SECTOR)),
  )

/** Bytes that are compared at once. */
const PIECE = 2 ** 20

/** The sectors that differ, and sector 0. */
function changedRuns(device: Device, copy: ReturnType<typeof overlay>): Run[] {
  const runs: { start: number; before: number[]; after: number[]; marked?: number[] }[] = []
  const take = (start: number, before: number, after: number): void => {
    const last = runs.at(-1)
    if (
      last &&
      start > 0 &&
      last.start + last.before.length * SECTOR === start &&
      last.before.length < PIECE / SECTOR
    ) {
      last.before.push(before)
      last.after.push(after)
    } else runs.push({ start, before: [before], after: [after] })
  }
  let done = SECTOR
  for (const { start, length } of copy.changed()) {
    const end = start + length
    for (let at = Math.max(done, start - (start % SECTOR)); at < end; at = done) {
      const count = Math.min(PIECE / SECTOR, Math.ceil((end - at) / SECTOR))
      const before = checksums(readSectors(device, at, count))
      const after = checksums(readSectors(copy, at, count))
      for (let i = 0; i < count; i++)
        if (before[i] !== after[i]) take(at + i * SECTOR, before[i] as number, after[i] as number)
      done = at + count * SECTOR
    }
  }
  const [before] = checksums(readSectors(device, 0, 1))
  const [after] = checksums(readSectors(copy, 0, 1))
  if (runs.length === 0 && before === after) return []
  const marked = [device, copy].flatMap((one) => markedSector(one) ?? []).map((bytes) => crc32c(bytes))
  return [{ start: 0, before: [before as number], after: [after as number], marked }, ...runs]
}

/** The first sector with NEEDSREPAIR set; undefined if it is not a V5 superblock. */
function markedSector(device: Device): Uint8Array[] | undefined {
  const primary = readPrimary(device)
  if (!('sb' in primary)) return undefined
  const geometry = geometryOf(primary.sb)
  if (geometry.features.version !== 5) return undefined
  const view = new DataView(new ArrayBuffer(geometry.sectsize))
  device.read(new Uint8Array(view.buffer), 0)
  setNeedsRepair(view, true)
  stamp(blockTypes.sb, view, { geometry, daddr: 0 })
  return [new Uint8Array(view.buffer, 0, SECTOR)]
}

/**
 * Write the sectors of `runs`. If the image has a superblock, the kernel does not mount it before the
 * last sector, the first of the image, is written.
 */
function writeMarked(
  device: Device,
  runs: readonly Run[],
  content: (start: number, count: number) => Uint8Array,
): void {
  const [marked] = markedSector(device) ?? []
  if (marked) {
    device.write(marked, 0)
    device.flush()
  }
  for (const { start, before } of runs) if (start > 0) device.write(content(start, before.length), start)
  device.flush()
  device.write(content(0, 1), 0)
  device.flush()
}

/** @throws XfsError STALE */
function refuseChanged(device: Device, { uuid, size, runs }: Header): void {
  if (device.size !== size)
    throw new XfsError('STALE', `the undo file is of an image of ${size} bytes, this one has ${device.size}`)
  const own = uuidOf(device)
  if (own !== undefined && own !== uuid)
    throw new XfsError('STALE', `the undo file is of the filesystem ${uuid}, this is ${own}`)
  for (const { start, before, after, marked = [] } of runs) {
    for (const [i, found] of checksums(readSectors(device, start, before.length)).entries()) {
      if (found === before[i] || found === after[i] || marked.includes(found)) continue
      throw new XfsError('STALE', `the image was changed since: the sector at byte ${start + i * SECTOR} is another`)
    }
  }
}

/** The UUID in the primary superblock, if there is one. */
function uuidOf(device: Device): string | undefined {
  const primary = readPrimary(device)
  return 'sb' in primary ? primary.sb.uuid : undefined
}

// ---------------------------------------------------------------------------------------------- file

function undoFile(header: Header, old: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat([Buffer.from(`${MAGIC}${JSON.stringify(header)}\n`), ...old])
  const sum = Buffer.alloc(CRC_SIZE)
  sum.writeUInt32LE(crc32c(content))
  return Buffer.concat([content, sum])
}

/** @throws XfsError NOENT, IO, CORRUPT */
function readUndoFile(path: HostPath): { header: Header; old: Map<number, Uint8Array> } {
  const bytes = guarded(path, 'read', () => readFileSync(path))
  const damaged = (why: string): XfsError => new XfsError('CORRUPT', `${String(path)}: ${why}`)
  if (bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) throw damaged('not an undo file')
  const end = bytes.length - CRC_SIZE
  const content = bytes.subarray(0, end)
  if (end < MAGIC.length || crc32c(content) !== bytes.readUInt32LE(end))
    throw damaged('the undo file is not complete, or was changed')
  const line = bytes.indexOf(NEWLINE, MAGIC.length)
  const header = JSON.parse(bytes.toString('utf8', MAGIC.length, line)) as Header
  const old = new Map<number, Uint8Array>()
  let at = line + 1
  for (const { start, before } of header.runs) {
    const length = Math.min(before.length * SECTOR, header.size - start)
    old.set(start, content.subarray(at, at + length))
    at += length
  }
  return { header, old }
}
