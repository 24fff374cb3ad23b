import type { Device } from '../device/device.ts'
import { patched } from '../device/patched.ts'
import { findSignature } from '../device/signature.ts'
import { XfsError } from '../errors.ts'
import { bytesAt } from '../format/fields.ts'
import { type Geometry, geometryOf } from '../format/geometry.ts'
import { SB_MAGIC, Superblock } from '../format/sb.ts'
import { COPIED_FIELDS, differingField, PRIMARY_VERSION_BITS } from '../format/sbcopies.ts'
import { superblockFaults, undefinedField } from '../format/sbrules.ts'
import { blockTypes } from '../format/verify/blocktypes.ts'
import { stamp } from '../format/verify/stamp.ts'
import { checkSuperblock } from '../format/verify/superblock.ts'
import { sameBytes } from '../util/samebytes.ts'
import { type Primary, readPrimary } from './primary.ts'
import { type Vote, voteOfCopies } from './vote.ts'

/**
 * What is trusted before anything else of an image is read: the superblock, which says where
 * everything is, and how much of the filesystem the image contains.
 *
 *   primary superblock intact   it is used
 *   else                        the secondary superblocks vote
 */
export interface Roots {
  /**
   * The image with this superblock in its place, and with the size that it says. Writing it writes
   * that superblock, too.
   */
  readonly device: Device
  readonly geometry: Geometry
  /** Why the primary superblock is not used, and whose copy is. */
  readonly restored?: Restored
  /** Bytes at the end of the filesystem that the image lacks. */
  readonly missing?: { readonly start: number; readonly length: number }
}

interface Restored {
  readonly reason: string
  /** The AG of the copy. */
  readonly agno: number
  /** Secondary superblocks that agree, of so many that are intact. */
  readonly votes: number
  readonly copies: number
}

/**
 * Find the superblock of the filesystem on `device`.
 * @throws XfsError INVAL (not XFS), CORRUPT (the superblock is damaged, and there is no copy), IO
 */
export function findRoots(device: Device): Roots {
  const primary = readPrimary(device)
  if ('sb' in primary) return rootsOf(device, geometryOf(primary.sb), NOTHING)
  const vote = voteOfCopies(device, hintOf(primary), mayBeXfs(device))
  if (!vote) throw primary.error()
  return votedRoots(device, primary.view, primary.reason, vote)
}

/**
 * The roots with the superblock that most copies have, if that differs from the primary one.
 * @param roots  those with the primary superblock
 */
export function votedAlternative(device: Device, { geometry, restored }: Roots): Roots | undefined {
  if (restored) return undefined
  const view = new DataView(new ArrayBuffer(Superblock.size))
  device.read(new Uint8Array(view.buffer), 0)
  const vote = voteOfCopies(device, geometry.sb, false)
  if (!vote) return undefined
  const field = differingField(geometry.sb, vote.sb)
  const other = restoredSuperblock(view, vote)
  if (sameBytes(bytesAt(other, 0, Superblock.size), bytesAt(view, 0, Superblock.size))) return undefined
  return votedRoots(device, view, field ? `${field} differs from the copies` : 'it breaks a rule', vote)
}

const NOTHING = new Uint8Array(0)

function rootsOf(device: Device, geometry: Geometry, start: Uint8Array, restored?: Restored): Roots {
  const size = geometry.sb.dblocks * geometry.blocksize
  const short = size - device.size
  const own = short <= 0 && start.length === 0
  return {
    device: own ? device : patched(device, Math.max(size, device.size), start),
    geometry,
    ...(restored && { restored }),
    ...(short > 0 && { missing: { start: device.size, length: short } }),
  }
}

function votedRoots(device: Device, old: DataView | undefined, reason: string, vote: Vote): Roots {
  const view = restoredSuperblock(old, vote)
  const geometry = geometryOf(Superblock.decode(view))
  stamp(blockTypes.sb, view, { geometry, daddr: 0 })
  const { agno, votes, copies } = vote
  return rootsOf(device, geometry, new Uint8Array(view.buffer), { reason, agno, votes, copies })
}

/**
 * The primary superblock as it should be. What only the primary has is kept, if it belongs to the
 * same filesystem: label, quota inodes, counters.
 */
function restoredSuperblock(old: DataView | undefined, { view: copy, sb }: Vote): DataView {
  const { fields } = Superblock
  const view = new DataView(new ArrayBuffer(copy.byteLength))
  const same = old !== undefined && fields.magicnum.get(old, 0) === SB_MAGIC && fields.uuid.get(old, 0) === sb.uuid
  bytesAt(view, 0, Superblock.size).set(bytesAt(same ? old : copy, 0, Superblock.size))
  if (same) {
    const own = fields.versionnum.get(old, 0) & PRIMARY_VERSION_BITS
    for (const name of COPIED_FIELDS) take(view, name, copy)
    fields.versionnum.set(view, 0, (sb.versionnum & ~PRIMARY_VERSION_BITS) | own)
  } else {
    fields.inprogress.set(view, 0, 0)
    fields.lsn.set(view, 0, { cycle: 0, block: 0 })
  }
  keepRules(view, copy)
  setRootInodes(view, sb)
  return view
}

const take = (into: DataView, name: keyof Superblock, from: DataView): void => {
  const { offset, size } = Superblock.fields[name]
  bytesAt(into, offset, size).set(bytesAt(from, offset, size))
}

/** Fields that break a rule get the value of the copy, which obeys it. */
function keepRules(view: DataView, copy: DataView): void {
  Superblock.fields.inprogress.set(view, 0, 0)
  for (let field = undefinedField(view, Superblock.decode(view)); field; ) {
    const { offset, size } = Superblock.list.find(({ name }) => name === field) as { offset: number; size: number }
    bytesAt(view, offset, size).fill(0)
    field = undefinedField(view, Superblock.decode(view))
  }
  const wrong = (): string[] => {
    const sb = Superblock.decode(view)
    const first = checkSuperblock(sb)?.field
    return [...(first ? [first] : []), ...superblockFaults(sb, 'primary').map(({ field }) => field)]
  }
  const done = new Set<string>()
  for (let names = wrong(); names.some((name) => !done.has(name)); names = wrong()) {
    for (const name of names) {
      done.add(name)
      if (Object.hasOwn(Superblock.fields, name)) take(view, name as keyof Superblock, copy)
    }
  }
}

/** mkfs writes the number of the root inode to two copies; two inodes for realtime follow it. */
function setRootInodes(view: DataView, copy: Superblock): void {
  const sb = Superblock.lazy(view)
  if (copy.rootino > 0) Superblock.fields.rootino.set(view, 0, copy.rootino)
  const { rootino } = sb
  if (rootino <= 0) return
  const { rbmino, rsumino, metadirino } = Superblock.fields
  if (geometryOf(Superblock.decode(view)).features.has('metadir')) {
    if (sb.metadirino <= 0) metadirino.set(view, 0, rootino + 1)
    return
  }
  rbmino.set(view, 0, rootino + 1)
  rsumino.set(view, 0, rootino + 2)
}

/** A damaged superblock may still say where the copies are. */
function hintOf(primary: Primary): Superblock | undefined {
  if ('sb' in primary) return primary.sb
  const { view } = primary
  if (!view || Superblock.fields.magicnum.get(view, 0) !== SB_MAGIC) return undefined
  return Superblock.decode(view)
}

/** Is it not recognized as something else? */
function mayBeXfs(device: Device): boolean {
  try {
    const signature = findSignature(device)
    return signature === undefined || signature.type === 'xfs'
  } catch (error) {
    if (error instanceof XfsError && error.code === 'IO') return true
    throw error
  }
}

/** A sentence about a superblock that was restored; the primary's number is 0. */
export const restoredText = ({ reason, agno, votes, copies }: Restored): string =>
  `the primary superblock is damaged (${reason}): that of AG ${agno} is used, as ${votes} of ${copies} copies agree`
