import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { AG_SECTORS } from '../format/ag.ts'
import { BASIC_BLOCK } from '../format/geometry.ts'
import { btrees } from '../format/trees.ts'
import { logState } from '../log/ring.ts'
import { crc32c } from '../util/crc32c.ts'
import { viewOf } from '../util/view.ts'
import { Volume } from '../volume.ts'

/**
 * The state of a filesystem, to find out later whether it was changed. Every change by the kernel
 * or by xfskit moves the head of the log. Changes below the log, as of `db -x`, are seen in the
 * superblock, the AG headers and the roots of the btrees of AGs, and on a file of the host by its
 * modification time.
 */
export interface Fingerprint {
  readonly uuid: string
  /** Of the device, in bytes. */
  readonly size: number
  /** The head of the log: cycle and block. */
  readonly log: string
  /** CRC32C of the primary superblock, in hexadecimal. */
  readonly superblock: string
  /** CRC32C of the headers of all AGs and the roots of their btrees, in hexadecimal. */
  readonly groups: string
  /** The modification time of an image that is a file: nanoseconds since 1970. */
  readonly modified?: string
}

/** @throws XfsError as `Volume.open`; IO */
export function fingerprintOf(device: Device): Fingerprint {
  const volume = Volume.open(device, { needsRepair: true })
  const { sb, sectsize } = volume.geometry
  const superblock = new Uint8Array(sectsize)
  device.read(superblock, 0)
  let groups = 0
  for (let agno = 0; agno < sb.agcount; agno++) groups = crcOfGroup(volume, agno, groups)
  const { cycle, block } = logState(volume).head
  return {
    uuid: sb.uuid,
    size: device.size,
    log: `${cycle}:${block}`,
    superblock: hexadecimal(crc32c(superblock)),
    groups: hexadecimal(groups),
  }
}

const hexadecimal = (crc: number): string => crc.toString(16).padStart(8, '0')

const HEADERS = Object.keys(AG_SECTORS).length

function crcOfGroup({ device, geometry }: Volume, agno: number, seed: number): number {
  const { sectsize, blocksize, sb } = geometry
  const headers = new Uint8Array(HEADERS * sectsize)
  device.read(headers, geometry.agHeaderDaddr(agno, AG_SECTORS.sb) * BASIC_BLOCK)
  let crc = crc32c(headers, seed)
  const block = new Uint8Array(blocksize)
  for (const { root } of Object.values(btrees)) {
    if (root.in === 'inode') continue
    const agbno = root.block.get(viewOf(headers), AG_SECTORS[root.in] * sectsize)
    const last = Math.min(sb.agblocks, sb.dblocks - agno * sb.agblocks)
    // A pointer out of the AG is in the checksum itself.
    if (agbno >= last) continue
    device.read(block, geometry.daddr(agno, agbno) * BASIC_BLOCK)
    crc = crc32c(block, crc)
  }
  return crc
}

const NAMES: Readonly<Record<keyof Fingerprint, string>> = {
  uuid: 'the UUID',
  size: 'the size',
  log: 'the head of the log',
  superblock: 'the checksum of the superblock',
  groups: 'the checksum of the AG headers and btree roots',
  modified: 'the modification time of the file',
}

/**
 * Refuse a filesystem that is not in an expected state.
 * @throws XfsError STALE, with everything that differs
 */
export function requireSame(expected: Fingerprint, found: Fingerprint): void {
  const differences = (Object.keys(NAMES) as (keyof Fingerprint)[])
    .filter((name) => expected[name] !== found[name])
    .map((name) => `${NAMES[name]} was ${expected[name] ?? 'unknown'} and is ${found[name] ?? 'unknown'}`)
  if (differences.length === 0) return
  const what = expected.uuid === found.uuid ? 'the image was changed' : 'it is another filesystem'
  throw new XfsError('STALE', `${what}: ${differences.join('; ')}`)
}
