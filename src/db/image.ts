import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { type Geometry, geometryOf } from '../format/geometry.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'

/**
 * The geometry of an image that may be damaged. `db` is a tool for damaged images, so it uses the
 * primary superblock if its values make a filesystem. Otherwise it uses a secondary superblock.
 */
interface OpenedImage {
  readonly geometry: Geometry
  /** Faults that were found. */
  readonly complaints: readonly string[]
  /** The exit status of xfs_db when it corrected agcount. */
  readonly exitCode: number
}

/** The superblock has no XFS magic number, and -F was not given. */
export class NotXfs extends Error {
  override readonly name = 'NotXfs'
  readonly magic: number
  constructor(magic: number) {
    super('not an XFS filesystem')
    this.magic = magic
  }
}

const CHUNK = 2 ** 20
const STEP = 512

/** @throws NotXfs (unless `force`), XfsError if no superblock is usable */
export function openImage(device: Device, { force }: { readonly force: boolean }): OpenedImage {
  if (device.size < Superblock.size) throw new XfsError('IO', `only ${device.size} bytes`)
  const primary = readSuperblock(device, 0)
  if (primary.magicnum !== SB_MAGIC && !force) throw new NotXfs(primary.magicnum)
  const own = usable(primary, device.size)
  if (own)
    return {
      geometry: geometryOf(own.sb),
      complaints: own.complaint ? [own.complaint] : [],
      exitCode: own.complaint ? 1 : 0,
    }
  const fault = checkSuperblock(primary)?.message ?? 'damaged'
  const copy = findCopy(device)
  if (!copy)
    throw new XfsError('CORRUPT', `superblock: ${fault}; there is no sound secondary superblock`, { type: 'sb' })
  const complaint = `superblock: ${fault}; using the secondary superblock at byte ${copy.at}`
  return { geometry: geometryOf(copy.sb), complaints: [complaint], exitCode: 1 }
}

function readSuperblock(device: Device, position: number): Superblock {
  const bytes = new Uint8Array(Superblock.size)
  device.read(bytes, position)
  return Superblock.decode(new DataView(bytes.buffer))
}

/**
 * The superblock, if its geometry is valid or can be corrected. Rules that do not concern addresses
 * are ignored.
 */
function usable(found: Superblock, size: number): { sb: Superblock; complaint?: string } | undefined {
  const fits = (sb: Superblock): boolean =>
    checkSuperblock({ ...sb, ...HARMLESS, features_incompat: sb.features_incompat & ~2 }) === undefined
  if (found.magicnum !== SB_MAGIC) return undefined
  if (fits(found)) return { sb: found }
  const groups = Math.ceil(found.dblocks / found.agblocks)
  const counted = { ...found, agcount: groups }
  if (groups * found.agblocks * found.blocksize < size + 2 ** 40 && fits(counted)) {
    return { sb: counted, complaint: `superblock: agcount is ${found.agcount}, but dblocks makes ${groups} AGs` }
  }
  const blocks = Math.floor(size / found.blocksize)
  const measured = { ...found, dblocks: blocks }
  if (found.agcount === Math.ceil(blocks / found.agblocks) && fits(measured)) {
    return { sb: measured, complaint: `superblock: dblocks is ${found.dblocks}, but the image has ${blocks} blocks` }
  }
  return undefined
}

/** Fields that do not affect addresses, with harmless values. */
const HARMLESS = { imax_pct: 0, shared_vn: 0, inoalignmt: 0, logstart: 0, logblocks: 0 }

/** The first sound secondary superblock. Its AG size must match its position. */
function findCopy(device: Device): { sb: Superblock; at: number } | undefined {
  const bytes = new Uint8Array(CHUNK)
  const view = new DataView(bytes.buffer)
  for (let start = 0; start < device.size; start += CHUNK) {
    const part = bytes.subarray(0, Math.min(CHUNK, device.size - start))
    device.read(part, start)
    for (let at = 0; at + Superblock.size <= part.length; at += STEP) {
      if (view.getUint32(at) !== SB_MAGIC || start + at === 0) continue
      const sb = Superblock.decode(view, at)
      const { blocksize, agblocks, dblocks } = sb
      if (checkSuperblock(sb) || (start + at) % (blocksize * agblocks) !== 0 || dblocks * blocksize > device.size)
        continue
      return { sb, at: start + at }
    }
  }
  return undefined
}
