import { INODES_PER_CHUNK } from '../../format/dinode.ts'
import { orderByU32 } from '../../util/columns.ts'
import type { ExpectedChunks } from '../expect/inodes.ts'
import type { Findings } from '../findings.ts'
import type { InodeRecords } from '../observe/agtrees.ts'
import { compare, type Differences, NO_ROW } from './join.ts'

/** Inode btrees: inobt and finobt against the inodes. */

const COUNTS = ['holemask', 'count', 'freecount'] as const

/** Does record f say the same of a chunk as the inodes of row e? */
const isSame = (expected: ExpectedChunks, e: number, records: InodeRecords, f: number): boolean =>
  COUNTS.every((field) => expected[field].get(e) === records[field].get(f)) && isSameMask(expected, e, records, f)

const isSameMask = (expected: ExpectedChunks, e: number, records: InodeRecords, f: number): boolean =>
  expected.freeHi.get(e) === records.freeHi.get(f) && expected.freeLo.get(e) === records.freeLo.get(f)

/** The expected rows of a finobt: chunks with free inodes. */
function rowsWithFree({ freecount }: ExpectedChunks): Uint32Array {
  const counts = freecount.filled()
  return Uint32Array.from(counts.keys()).filter((row) => counts[row] !== 0)
}

export function compareInobt(expected: ExpectedChunks, records: InodeRecords): Differences {
  const { startino } = records
  return compare(
    expected.length,
    orderByU32(startino.filled(), records.length),
    (e, f) => expected.agino.get(e) - startino.get(f),
    (e, f) => isSame(expected, e, records, f),
  )
}

/** Expected rows are those of `rowsWithFree`. */
export function compareFinobt(expected: ExpectedChunks, records: InodeRecords): Differences {
  const { startino } = records
  const rows = rowsWithFree(expected)
  return compare(
    rows.length,
    orderByU32(startino.filled(), records.length),
    (e, f) => expected.agino.get(rows[e] as number) - startino.get(f),
    (e, f) => isSame(expected, rows[e] as number, records, f),
  )
}

/** Report the differences of an inobt. Extra records were reported when it was read. */
export function explainInobt(
  agno: number,
  expected: ExpectedChunks,
  records: InodeRecords,
  differences: Differences,
  findings: Findings,
): void {
  for (const [e, f] of differences) {
    if (e === NO_ROW) continue
    const agino = expected.agino.get(e)
    if (f === NO_ROW) findings.add('inobt.missing', { agno, agino, last: agino + INODES_PER_CHUNK - 1 })
    else
      for (const { field, ...values } of wrongFields(expected, e, records, f))
        findings.add(field === 'free' ? 'inobt.free' : 'inobt.count', { agno, agino, field, ...values })
  }
}

/** Report the differences of a finobt. */
export function explainFinobt(
  agno: number,
  expected: ExpectedChunks,
  records: InodeRecords,
  differences: Differences,
  findings: Findings,
): void {
  const rows = rowsWithFree(expected)
  for (const [e, f] of differences) {
    const row = rows[e] as number
    if (e === NO_ROW) findings.add('finobt.extra', { agno, agino: records.startino.get(f) })
    else if (f === NO_ROW) findings.add('finobt.missing', { agno, agino: expected.agino.get(row) })
    else
      for (const wrong of wrongFields(expected, row, records, f))
        findings.add('finobt.wrong', { agno, agino: expected.agino.get(row), ...wrong })
  }
}

function* wrongFields(
  expected: ExpectedChunks,
  e: number,
  records: InodeRecords,
  f: number,
): Generator<{ field: string; found: number | string; expected: number | string }> {
  for (const field of COUNTS) {
    const found = records[field].get(f)
    const right = expected[field].get(e)
    if (found !== right) yield { field, found, expected: right }
  }
  if (!isSameMask(expected, e, records, f))
    yield { field: 'free', found: mask(records, f), expected: mask(expected, e) }
}

const mask = ({ freeHi, freeLo }: Pick<InodeRecords, 'freeHi' | 'freeLo'>, row: number): string =>
  `0x${((BigInt(freeHi.get(row)) << 32n) | BigInt(freeLo.get(row))).toString(16)}`
