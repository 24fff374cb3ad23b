import type { Device } from '../device/device.ts'
import { XfsError } from '../errors.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { differingField } from '../format/sbcopies.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'
import { unitCrc } from '../format/verify/units.ts'

/** What most secondary superblocks of a filesystem say. */
export interface Vote {
  /** The one with the inode numbers of the root directory, if there is one. */
  readonly view: DataView
  readonly sb: Superblock
  /** Its AG. */
  readonly agno: number
  /** Secondary superblocks that agree, of so many. */
  readonly votes: number
  readonly copies: number
}

const MIN_AG_BYTES = 2 ** 24
const BLOCK_SIZES = [1024, 2048, 4096, 8192, 16384, 32768, 65536] as const
/** The number of AGs for which a place is tried without a scan. */
const MOST_GUESSED = 1024
/** Secondary superblocks that are read at most: AGs from both ends. */
const MOST_COPIES = 4096
/** Secondary superblocks that are read in all: an image may have one in each sector. */
const MOST_READ = 2 ** 15
const CHUNK = 2 ** 20
const SECTOR = 512

/**
 * The secondary superblocks, by majority. Their places follow from the primary superblock if that
 * is intact; else the places for all usual numbers of AGs are tried, and with `scan` every sector.
 *
 * @param hint  the primary superblock, which may be damaged
 * @returns undefined if no filesystem is found
 */
export function voteOfCopies(device: Device, hint: Superblock | undefined, scan: boolean): Vote | undefined {
  let best: Vote | undefined
  const tried = new Set<number>()
  const geometries = new Set<string>()
  let read = 0
  const consider = (position: number): boolean => {
    if (tried.has(position) || read >= MOST_READ) return false
    tried.add(position)
    const view = copyAt(device, position)
    if (!view) return false
    const { agblocks, blocksize, agcount } = Superblock.lazy(view)
    const agno = position / (agblocks * blocksize)
    const geometry = `${agblocks}/${blocksize}/${agcount}`
    if (!Number.isInteger(agno) || agno >= agcount || geometries.has(geometry)) return false
    geometries.add(geometry)
    read += Math.min(agcount, MOST_COPIES)
    const vote = gather(device, Superblock.decode(view))
    if (vote.votes * 2 > vote.copies && vote.votes > (best?.votes ?? 0)) best = vote
    return vote.votes === agcount - 1
  }
  for (const position of guesses(device.size, hint)) if (consider(position)) return best
  if (best || !scan) return best
  for (const position of scanned(device)) if (consider(position)) return best
  return best
}

/** A superblock with a valid checksum and geometry. */
function copyAt(device: Device, position: number): DataView | undefined {
  if (position + Superblock.size > device.size) return undefined
  const head = readAt(device, position, Superblock.size)
  if (!head || Superblock.fields.magicnum.get(head, 0) !== SB_MAGIC) return undefined
  const sb = Superblock.lazy(head)
  if (checkSuperblock(sb) !== undefined) return undefined
  const sector = readAt(device, position, sb.sectsize)
  if (!sector) return undefined
  const v5 = (sb.versionnum & 0xf) === 5
  return v5 && unitCrc(sector, 0, sb.sectsize, Superblock.fields.crc.offset) ? undefined : sector
}

/** @returns undefined if it cannot be read */
function readAt(device: Device, position: number, length: number): DataView | undefined {
  const view = new DataView(new ArrayBuffer(length))
  try {
    device.read(new Uint8Array(view.buffer), position)
    return view
  } catch (error) {
    if (error instanceof XfsError && error.code === 'IO') return undefined
    throw error
  }
}

/** Read the secondary superblocks of a geometry; the largest group of those that agree wins. */
function gather(device: Device, { agcount, agblocks, blocksize }: Superblock): Vote {
  const groups: { sb: Superblock; view: DataView; agno: number; votes: number }[] = []
  let copies = 0
  const half = MOST_COPIES / 2
  for (let agno = 1; agno < agcount; agno = agno === half && agcount > MOST_COPIES ? agcount - half : agno + 1) {
    const view = copyAt(device, agno * agblocks * blocksize)
    if (!view) continue
    copies++
    const sb = Superblock.decode(view)
    const group = groups.find((one) => differingField(one.sb, sb) === undefined)
    if (!group) groups.push({ sb, view, agno, votes: 1 })
    else {
      group.votes++
      // mkfs writes the inode number of the root directory to two of them only.
      if (group.sb.rootino <= 0) Object.assign(group, { sb, view, agno })
    }
  }
  const [winner] = groups.sort((a, b) => b.votes - a.votes)
  return { ...(winner as Vote), copies }
}

/** Where the superblock of AG 1 may be. */
function* guesses(size: number, hint: Superblock | undefined): Generator<number> {
  if (hint) {
    yield hint.agblocks * hint.blocksize
    for (const blocksize of BLOCK_SIZES) yield hint.agblocks * blocksize
  }
  for (const blocksize of BLOCK_SIZES) {
    for (let agcount = 2; agcount <= MOST_GUESSED && size / agcount >= MIN_AG_BYTES; agcount++)
      yield Math.ceil(size / agcount / blocksize) * blocksize
  }
}

/** Where magic numbers of superblocks are. */
function* scanned(device: Device): Generator<number> {
  const bytes = new Uint8Array(CHUNK)
  const view = new DataView(bytes.buffer)
  for (let start = MIN_AG_BYTES; start < device.size; start += CHUNK) {
    const length = Math.min(CHUNK, device.size - start)
    try {
      device.read(bytes.subarray(0, length), start)
    } catch (error) {
      if (error instanceof XfsError && error.code === 'IO') continue
      throw error
    }
    for (let at = 0; at + SECTOR <= length; at += SECTOR) if (view.getUint32(at) === SB_MAGIC) yield start + at
  }
}
