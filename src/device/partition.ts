import { XfsError } from '../errors.ts'
import { SB_MAGIC } from '../format/sb.ts'
import { crc32 } from '../util/crc32.ts'
import type { Device } from './device.ts'
import { window } from './window.ts'

/**
 * Partition tables: GPT (with its backup at the end of the disk) and MBR (with logical partitions
 * from 5 on). Source: UEFI specification 2.10, chapter 5; the MBR's extended partitions as Linux
 * reads them.
 */
export interface Partition {
  /** The system's number: sda1 is 1. */
  readonly number: number
  readonly offset: number
  readonly size: number
  /** GPT: a GUID; MBR: a byte in hexadecimal. */
  readonly type: string
  readonly name: string
}

const MBR_SIGNATURE = 0xaa55
const GPT_SIGNATURE = 'EFI PART'
const GPT_PROTECTIVE = 0xee
const EXTENDED: readonly number[] = [0x05, 0x0f, 0x85]
const MAX_LOGICAL = 256
const MAX_GPT_ENTRIES = 4096

/**
 * The partitions of a disk image, ordered by number; empty if there is no table.
 * @throws XfsError CORRUPT (both copies of a GPT are damaged)
 */
export function partitions(device: Device): Partition[] {
  const mbr = readMbr(device, 0)
  if (!mbr) return []
  if (mbr.some((entry) => entry.type === GPT_PROTECTIVE)) return gptPartitions(device)
  const found: Partition[] = []
  for (const [index, entry] of mbr.entries()) {
    if (entry.type === 0 || entry.count === 0 || EXTENDED.includes(entry.type)) continue
    found.push(mbrPartition(index + 1, entry.start, entry))
  }
  const extended = mbr.find((entry) => EXTENDED.includes(entry.type))
  if (extended) found.push(...logicalPartitions(device, extended.start))
  return found
}

/** @throws XfsError INVAL if the table or the partition does not exist */
export function findPartition(device: Device, number: number): Partition {
  const all = partitions(device)
  if (all.length === 0) throw new XfsError('INVAL', 'the image has no partition table')
  const partition = all.find((candidate) => candidate.number === number)
  if (!partition) {
    throw new XfsError(
      'INVAL',
      `no partition ${number}; the table has ${all.map((candidate) => candidate.number).join(', ')}`,
    )
  }
  return partition
}

/** The part of a device that a partition is. @throws XfsError IO if it is outside of the device */
export function partitionWindow(device: Device, { number, offset, size }: Partition): Device {
  if (offset + size > device.size)
    throw new XfsError('IO', `partition ${number} ends at ${offset + size}, the image at ${device.size}`)
  return window(device, offset, size)
}

/**
 * The partitions of a disk that begin with an XFS superblock.
 * @returns undefined if there is no table, or it is damaged or of an unsupported kind
 */
export function xfsPartitions(disk: Device): Partition[] | undefined {
  let all: Partition[]
  try {
    all = partitions(disk)
  } catch (error) {
    if (error instanceof XfsError && error.code === 'CORRUPT') return undefined
    throw error
  }
  if (all.length === 0) return undefined
  return all.filter(({ offset }) => readAt(disk, offset, 4)?.getUint32(0) === SB_MAGIC)
}

interface MbrEntry {
  readonly type: number
  readonly start: number
  readonly count: number
}

/** The four entries of the boot record at a sector, if there is one. */
function readMbr(device: Device, sector: number): MbrEntry[] | undefined {
  const view = readAt(device, sector * 512, 512)
  if (!view || view.getUint16(510, true) !== MBR_SIGNATURE) return undefined
  return [446, 462, 478, 494].map((at) => ({
    type: view.getUint8(at + 4),
    start: view.getUint32(at + 8, true),
    count: view.getUint32(at + 12, true),
  }))
}

/**
 * The chain of extended boot records. Each has one partition, relative to itself, and the next
 * record, relative to the first.
 */
function logicalPartitions(device: Device, first: number): Partition[] {
  const found: Partition[] = []
  const seen = new Set<number>()
  for (let at = first; !seen.has(at) && seen.size < MAX_LOGICAL; ) {
    seen.add(at)
    const entries = readMbr(device, at)
    const [entry, next] = entries ?? []
    if (entry && entry.type !== 0 && entry.count > 0)
      found.push(mbrPartition(5 + found.length, at + entry.start, entry))
    if (!next || !EXTENDED.includes(next.type)) break
    at = first + next.start
  }
  return found
}

const mbrPartition = (number: number, start: number, entry: MbrEntry): Partition => ({
  number,
  offset: start * 512,
  size: entry.count * 512,
  type: entry.type.toString(16).padStart(2, '0'),
  name: '',
})

/** The position of the header depends on the sector size: 512 or 4096 bytes. */
function gptPartitions(device: Device): Partition[] {
  for (const sectorSize of [512, 4096]) {
    for (const lba of [1, Math.floor(device.size / sectorSize) - 1]) {
      const found = readGpt(device, lba, sectorSize)
      if (found) return found
    }
  }
  throw new XfsError('CORRUPT', 'the image has a GPT, but its header and the backup at the end are damaged')
}

/** The partitions of the header at a sector, if header and entries match their checksums. */
function readGpt(device: Device, lba: number, sectorSize: number): Partition[] | undefined {
  const header = readAt(device, lba * sectorSize, 512)
  if (!header || latin1(header, 0, 8) !== GPT_SIGNATURE) return undefined
  const headerSize = header.getUint32(12, true)
  const count = header.getUint32(80, true)
  const entrySize = header.getUint32(84, true)
  if (headerSize < 92 || headerSize > 512 || entrySize < 128 || entrySize > 4096 || count > MAX_GPT_ENTRIES)
    return undefined
  const sum = header.getUint32(16, true)
  header.setUint32(16, 0, true)
  if (crc32(new Uint8Array(header.buffer, 0, headerSize)) !== sum) return undefined
  const entries = readAt(device, get64le(header, 72) * sectorSize, count * entrySize)
  if (!entries || crc32(new Uint8Array(entries.buffer)) !== header.getUint32(88, true)) return undefined
  const found: Partition[] = []
  for (let index = 0; index < count; index++) {
    const at = index * entrySize
    const type = guid(entries, at)
    const first = get64le(entries, at + 32)
    const last = get64le(entries, at + 40)
    if (/^[0-]*$/.test(type) || last < first) continue
    const name = new TextDecoder('utf-16le').decode(new Uint8Array(entries.buffer, at + 56, 72)).replace(/\0.*$/s, '')
    found.push({ number: index + 1, offset: first * sectorSize, size: (last - first + 1) * sectorSize, type, name })
  }
  return found
}

const get64le = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true)

const latin1 = (view: DataView, at: number, length: number): string =>
  String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + at, length))

/** The first three parts of a GUID are little-endian. */
function guid(view: DataView, at: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')
  const tail = Array.from({ length: 8 }, (_, i) => hex(view.getUint8(at + 8 + i), 2)).join('')
  const head = [
    hex(view.getUint32(at, true), 8),
    hex(view.getUint16(at + 4, true), 4),
    hex(view.getUint16(at + 6, true), 4),
  ]
  return `${head.join('-')}-${tail.slice(0, 4)}-${tail.slice(4)}`
}

/** Bytes of the device; undefined if it is too small. */
function readAt(device: Device, position: number, length: number): DataView | undefined {
  if (!(position >= 0 && position + length <= device.size)) return undefined
  const bytes = new Uint8Array(length)
  device.read(bytes, position)
  return new DataView(bytes.buffer)
}
