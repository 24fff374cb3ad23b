import { isZero } from '#native'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'
import { viewOf } from '../util/view.ts'
import type { Device } from './device.ts'
import { xfsPartitions } from './partition.ts'
import { describeSignature, findSignature } from './signature.ts'

/** Bytes that are searched for a superblock. */
const SEARCHED = 64 * 2 ** 20
const CHUNK = 2 ** 20
const SECTOR = 512
/** XFSB read with the wrong byte order. */
const SWAPPED_MAGIC = 0x42534658

/**
 * A description of the content of a device that does not begin with an XFS superblock.
 * @throws XfsError IO
 */
export function notXfs(device: Device): string {
  if (device.size === 0) return 'it is empty'
  if (device.size < Superblock.size) return `it has only ${device.size} bytes`
  const signature = findSignature(device)
  if (signature) {
    const where = signature.kind === 'partition table' ? `; ${partitionsWithXfs(device)}` : ''
    return `it contains ${describeSignature(signature)}${where}`
  }
  const head = new DataView(new ArrayBuffer(4))
  device.read(new Uint8Array(head.buffer), 0)
  const magic = head.getUint32(0)
  if (magic === SWAPPED_MAGIC) return 'the superblock has the wrong byte order'
  const { found, zeros } = search(device)
  const start =
    magic !== 0
      ? `superblock magic is 0x${magic.toString(16).padStart(8, '0')}, expected 0x58465342 (XFSB)`
      : zeros === device.size
        ? 'it contains only zeros'
        : 'it begins with zeros'
  return found === undefined ? start : `${start}; ${found}`
}

function partitionsWithXfs(disk: Device): string {
  const found = xfsPartitions(disk)
  if (!found) return 'use --partition N to select a partition'
  const numbers = found.map(({ number }) => number)
  if (numbers.length === 0) return 'no partition contains XFS'
  const list = numbers.join(', ')
  return numbers.length === 1
    ? `partition ${list} contains XFS: use --partition ${list}`
    : `partitions ${list} contain XFS: use --partition N to select one`
}

/** A description of the position of the first superblock, and the number of leading zero bytes. */
function search(device: Device): { readonly found?: string; readonly zeros: number } {
  const end = Math.min(device.size, SEARCHED)
  const bytes = new Uint8Array(CHUNK)
  let zeros = 0
  for (let start = 0; start < end; start += CHUNK) {
    const part = bytes.subarray(0, Math.min(CHUNK, end - start))
    device.read(part, start)
    if (isZero(part)) {
      if (zeros === start) zeros += part.length
      continue
    }
    const view = viewOf(part)
    for (let at = 0; at + Superblock.size <= part.length; at += SECTOR) {
      if (view.getUint32(at) !== SB_MAGIC) continue
      const sb = Superblock.decode(view, at)
      if (checkSuperblock(sb) === undefined) return { found: place(start + at, sb.agblocks * sb.blocksize), zeros }
    }
  }
  return { zeros }
}

/** A secondary superblock is at a multiple of the AG size after the primary one. */
const place = (at: number, agBytes: number): string =>
  at % agBytes === 0
    ? `secondary superblock found at byte ${at}: the primary superblock is damaged; run xfskit repair`
    : `an XFS superblock was found ${at} bytes later (use --offset)`
