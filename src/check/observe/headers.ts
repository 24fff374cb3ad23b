import type { Device } from '../../device/device.ts'
import { AG_SECTORS, AGF_MAGIC, AGFL_MAGIC, AGI_MAGIC, Agf, Agfl, AgflSlot, Agi, NULLAGBLOCK } from '../../format/ag.ts'
import { bytesAt } from '../../format/fields.ts'
import { BASIC_BLOCK, type Geometry } from '../../format/geometry.ts'
import { SB_MAGIC, Superblock } from '../../format/sb.ts'
import { differingField } from '../../format/sbcopies.ts'
import { superblockFaults, undefinedField } from '../../format/sbrules.ts'
import type { Struct } from '../../format/struct.ts'
import { agflSlots } from '../../format/treesizes.ts'
import { crc32cExcept } from '../../util/crc32c.ts'
import type { Findings } from '../findings.ts'
import type { Scene } from './scene.ts'

/**
 * The four headers of each AG. Tests: magic numbers, checksums, identity, place and length; the
 * secondary superblocks against the primary. Collects: the decoded headers and the blocks that the
 * AGFL lists. Roots and counters are checked later, when trees and blocks are known.
 */
export interface Headers {
  /** The superblock of the AG has its magic number. */
  readonly isSuperblock: boolean
  readonly agf: Agf
  readonly agi: Agi
  /** Blocks that the AGFL lists, in its order; some may not exist. */
  readonly agfl: readonly number[]
  /** The header was recognized, so its roots and heights are used. */
  readonly agfUsable: boolean
  readonly agiUsable: boolean
  readonly agflUsable: boolean
}

function readSector(device: Device, geometry: Geometry, agno: number, sector: number): DataView {
  const bytes = new Uint8Array(geometry.sectsize)
  device.read(bytes, geometry.agHeaderDaddr(agno, sector) * BASIC_BLOCK)
  return new DataView(bytes.buffer)
}

/** Is the checksum of a sector right? */
function crcFits(view: DataView, struct: Struct): boolean {
  const field = struct.list.find((f) => f.kind === 'crc32c')
  if (!field) return true
  return (
    view.getUint32(field.offset, true) ===
    crc32cExcept(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), field.offset)
  )
}

/** Where the magic number of AGF, AGI and AGFL is. */
const MAGIC = Agf.fields.magicnum.offset

interface HeaderKind {
  readonly name: 'agf' | 'agi' | 'agfl'
  readonly struct: Struct
  readonly magic: number
}
const agfKind: HeaderKind = { name: 'agf', struct: Agf as unknown as Struct, magic: AGF_MAGIC }
const agiKind: HeaderKind = { name: 'agi', struct: Agi as unknown as Struct, magic: AGI_MAGIC }
const agflKind: HeaderKind = { name: 'agfl', struct: Agfl as unknown as Struct, magic: AGFL_MAGIC }

/** Check magic number, checksum and identity of a header; false if its fields are meaningless. */
function checkIdentity(
  kind: HeaderKind,
  view: DataView,
  { geometry, head: logHead, findings }: Scene,
  agno: number,
  head: { seqno: number; uuid: string },
): boolean {
  const { name } = kind
  const magic = view.getUint32(MAGIC)
  const magicFits = magic === kind.magic
  const crc = crcFits(view, kind.struct)
  if (!magicFits) findings.add(`${name}.magic`, { agno, found: magic, expected: kind.magic })
  else if (!crc) findings.add(`${name}.crc`, { agno })
  if (!magicFits) return false
  if (head.seqno !== agno) findings.add(`${name}.identity`, { agno, field: 'seqno', found: head.seqno, expected: agno })
  if (head.uuid !== geometry.metaUuid) {
    findings.add(`${name}.identity`, { agno, field: 'uuid', found: head.uuid, expected: geometry.metaUuid })
  }
  const { offset } = kind.struct.fields['lsn'] as { offset: number }
  if (crc && logHead.isAhead(view, offset)) findings.add(`${name}.lsn`, { agno, reason: logHead.text(view, offset) })
  // The identity is right and the checksum wrong: the roots may still be right, and following them
  // is safe.
  return head.seqno === agno || crc
}

export function observeHeaders(scene: Scene, agno: number): Headers {
  const { device, geometry, findings } = scene
  const agfView = readSector(device, geometry, agno, AG_SECTORS.agf)
  const agiView = readSector(device, geometry, agno, AG_SECTORS.agi)
  const agflView = readSector(device, geometry, agno, AG_SECTORS.agfl)
  const isSuperblock = Superblock.fields.magicnum.get(readSector(device, geometry, agno, AG_SECTORS.sb), 0) === SB_MAGIC
  const agf = Agf.decode(agfView)
  const agi = Agi.decode(agiView)
  const agflHead = Agfl.decode(agflView)
  const agfUsable = checkIdentity(agfKind, agfView, scene, agno, agf)
  const agiUsable = checkIdentity(agiKind, agiView, scene, agno, agi)
  const agflUsable = checkIdentity(agflKind, agflView, scene, agno, agflHead)
  const length = geometry.agLength(agno)
  if (agfUsable) checkFixed(findings, 'agf', agno, agf, { versionnum: 1, length })
  if (agiUsable) checkFixed(findings, 'agi', agno, agi, { versionnum: 1, length })
  const agfl = agfUsable && agflUsable ? agflBlocks(agflView, geometry, agno, agf, findings) : undefined
  return { isSuperblock, agf, agi, agfl: agfl ?? [], agfUsable, agiUsable, agflUsable: agfl !== undefined }
}

function checkFixed<T extends object>(
  findings: Findings,
  name: 'agf' | 'agi',
  agno: number,
  found: T,
  expected: Partial<T>,
): void {
  for (const [field, value] of Object.entries(expected)) {
    const is = (found as Record<string, unknown>)[field] as number
    if (is !== value) findings.add(`${name}.identity`, { agno, field, found: is, expected: value as number })
  }
}

/**
 * The used slots, from `flfirst` to `fllast`, wrapping around the end; undefined if the three
 * numbers contradict each other.
 */
function agflBlocks(
  view: DataView,
  geometry: Geometry,
  agno: number,
  agf: Agf,
  findings: Findings,
): number[] | undefined {
  const slots = agflSlots(geometry)
  const { flfirst, fllast, flcount } = agf
  const span = flfirst < slots && fllast < slots ? ((fllast - flfirst + slots) % slots) + 1 : -1
  const empty = flcount === 0 && span > 0 && (fllast + 1) % slots === flfirst
  if (span !== flcount && !empty) {
    findings.add('agfl.range', { agno, first: flfirst, last: fllast, count: flcount, slots })
    return undefined
  }
  const blocks: number[] = []
  for (let i = 0; i < flcount; i++) {
    const slot = (flfirst + i) % slots
    blocks.push(AgflSlot.fields.bno.get(view, Agfl.size + slot * AgflSlot.size))
  }
  for (const agbno of blocks) {
    if (agbno !== NULLAGBLOCK && geometry.validAgbno(agno, agbno)) continue
    findings.add('agfl.outside', { agno, agbno })
  }
  return blocks.filter((agbno) => geometry.validAgbno(agno, agbno))
}

type CopyFault = { readonly [fact in 'field' | 'found' | 'expected']: number | string }

/** Check the primary superblock, and the secondary superblocks. */
export function observeSuperblocks({ device, geometry, head, findings }: Scene): void {
  const primary = readSector(device, geometry, 0, AG_SECTORS.sb)
  const { offset } = Superblock.fields.lsn
  if (!crcFits(primary, Superblock as unknown as Struct)) findings.add('sb.crc', { agno: 0 })
  else if (head.isAhead(primary, offset)) findings.add('sb.lsn', { reason: head.text(primary, offset) })
  for (const { field, message } of superblockFaults(geometry.sb, 'primary'))
    findings.add('sb.rule', { field, reason: message })
  const unused = unusedField(primary, geometry.sb)
  if (unused !== undefined)
    findings.add('sb.rule', { field: unused, reason: 'bytes that no feature defines are not zero' })
  const differing: ({ agno: number } & CopyFault)[] = []
  for (let agno = 1; agno < geometry.agcount; agno++) {
    const view = readSector(device, geometry, agno, AG_SECTORS.sb)
    const wrong = copyFault(view, geometry.sb)
    if (wrong) differing.push({ agno, ...wrong })
  }
  // If all secondary superblocks agree with each other, or the primary breaks a rule, the primary
  // is the one that is wrong.
  const [one] = differing
  const agree = differing.every(({ field, found }) => field === one?.field && found === one.found)
  if (
    one &&
    agree &&
    (differing.length > 1 || findings.has('sb.rule')) &&
    differing.length === geometry.agcount - 1 &&
    one.field !== 'crc' &&
    one.field !== 'magicnum'
  ) {
    findings.add('sb.geometry', { field: one.field, found: one.expected, expected: one.found })
  } else for (const facts of differing) findings.add('sb.copy', facts)
}

function copyFault(view: DataView, sb: Superblock): CopyFault | undefined {
  const magic = Superblock.fields.magicnum.get(view, 0)
  if (magic !== SB_MAGIC) return { field: 'magicnum', found: magic, expected: SB_MAGIC }
  if (!crcFits(view, Superblock as unknown as Struct)) return { field: 'crc', found: 'bad', expected: 'a good one' }
  const copy = Superblock.decode(view)
  const field = differingField(copy, sb)
  if (field) return { field, found: copy[field], expected: sb[field] }
  // Rules that the primary superblock breaks as well are reported once.
  const own = new Set(superblockFaults(sb, 'primary').map((fault) => fault.field))
  const fault = superblockFaults(copy, 'secondary').find((one) => !own.has(one.field))
  if (fault) return { field: fault.field, found: fault.message, expected: String(sb[fault.field as keyof Superblock]) }
  const unused = unusedField(view, copy)
  return unused === undefined ? undefined : { field: unused, found: 'not zero', expected: 'zeros' }
}

/** The first field that no feature defines but is not zero; `rest`: the bytes after the fields. */
function unusedField(view: DataView, sb: Superblock): string | undefined {
  const rest = bytesAt(view, Superblock.size, view.byteLength - Superblock.size)
  return undefinedField(view, sb) ?? (rest.every((byte) => byte === 0) ? undefined : 'rest')
}
