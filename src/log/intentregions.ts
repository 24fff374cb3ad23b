import type { ByteOrder, HostStruct } from '../format/hostorder.ts'
import { Extent64, type LogItemType, logItems, RefcountOps, XmiLogFormat } from '../format/logitems.ts'
import type { Mask64 } from '../format/struct.ts'
import { viewOf } from '../util/view.ts'
import type { AttrWork, BmapWork, ExchangeWork, FreeWork, IntentWork, RefcountWork, RmapWork } from './intentitems.ts'

/**
 * Writing intents and done items to the log: their regions. The log of xfskit is little-endian, so
 * they are as well.
 */
const ORDER: ByteOrder = 'little'

/** A region: a header and extents. */
function region(
  header: HostStruct,
  values: Readonly<Record<string, unknown>>,
  extent?: HostStruct,
  extents: readonly Readonly<Record<string, unknown>>[] = [],
): Uint8Array {
  const bytes = new Uint8Array(header.size + extents.length * (extent?.size ?? 0))
  const view = viewOf(bytes)
  header[ORDER].encode(view, 0, values)
  for (const [i, one] of extents.entries()) extent?.[ORDER].encode(view, header.size + i * extent.size, one)
  return bytes
}

const freeExtents = ({ extents }: FreeWork): { start: number; len: number }[] =>
  extents.map(({ fsbno, blockcount }) => ({ start: fsbno, len: blockcount }))

/** The done item of an intent, as its regions. */
export function encodeDone(work: IntentWork, id: Mask64): Uint8Array[] {
  const done = logItems[logItems[work.kind]?.done as LogItemType]
  if (!done) throw new Error(`${work.kind} has no done item`)
  const extents = work.kind === 'efi' ? freeExtents(work) : []
  const values = { type: done.type, size: 1, intent_id: id, nextents: extents.length }
  return [region(done.format, values, Extent64, extents)]
}

/** The rest of an intent as a new intent, as its regions. */
export function encodeIntent(work: Exclude<IntentWork, AttrWork>, id: Mask64): Uint8Array[] {
  const row = logItems[work.kind]
  if (!row) throw new Error(`no item ${work.kind}`)
  const values = { type: row.type, size: 1, id }
  if (work.kind === 'xmi') return [exchangeRegion(work, values)]
  const extents = extentRecords(work)
  return [region(row.format, { ...values, nextents: extents.length }, row.extent, extents)]
}

function extentRecords(work: FreeWork | RmapWork | RefcountWork | BmapWork): Readonly<Record<string, unknown>>[] {
  switch (work.kind) {
    case 'efi':
      return freeExtents(work)
    case 'rui':
      return work.updates.map(({ owner, fsbno, startoff, blockcount, flags }) => ({
        owner, startblock: fsbno, startoff, len: blockcount, flags,
      })) // biome-ignore format: short
    case 'cui':
      return work.updates.map(({ op, fsbno, blockcount }) => ({
        startblock: fsbno, len: blockcount, flags: RefcountOps[op],
      })) // biome-ignore format: short
    case 'bui': {
      const { ino, fsbno, startoff, blockcount, flags } = work
      return [{ owner: ino, startblock: fsbno, startoff, len: blockcount, flags }]
    }
  }
}

function exchangeRegion(work: ExchangeWork, values: Readonly<Record<string, unknown>>): Uint8Array {
  const { inodes, generations, startoff1, startoff2, blockcount, flags, sizes } = work
  const bytes = region(XmiLogFormat, {
    ...values, inode1: inodes[0], inode2: inodes[1], igen1: generations[0], igen2: generations[1],
    startoff1, startoff2, blockcount, flags: { hi: 0, lo: flags },
  }) // biome-ignore format: short
  const { isize1, isize2 } = XmiLogFormat.big.fields
  viewOf(bytes).setBigInt64(isize1.offset, BigInt(sizes[0]), ORDER === 'little')
  viewOf(bytes).setBigInt64(isize2.offset, BigInt(sizes[1]), ORDER === 'little')
  return bytes
}
