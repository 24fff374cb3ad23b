import { orderByU32 } from '../../util/columns.ts'
import type { ExpectedChunks } from '../expect/inodes.ts'
import type { Findings } from '../findings.ts'
import type { InodeRecords } from '../observe/agtrees.ts'
import { compare } from './join.ts'

/** Inode btrees: inobt and finobt against the inodes. */

const hexMask = (hi: number, lo: number): string => `0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}`

/** @returns whether inobt is wrong */
export function compareInobt(
  agno: number,
  expected: ExpectedChunks,
  records: InodeRecords,
  findings: Findings,
): boolean {
  const rows = orderByU32(records.startino.filled(), records.length)
  let wrong = false
  compare(
    expected.length,
    rows.length,
    (e, f) => expected.agino.get(e) - records.startino.get(rows[f] as number),
    (e, f) => sameRecord(agno, 'inobt', expected, e, records, rows[f] as number, findings),
    (kind, e) => {
      wrong = true
      if (kind === 'missing')
        findings.add('inobt.missing', { agno, agino: expected.agino.get(e), last: expected.agino.get(e) + 63 })
    },
  )
  return wrong
}

/** @returns whether finobt is wrong */
export function compareFinobt(
  agno: number,
  expected: ExpectedChunks,
  records: InodeRecords,
  findings: Findings,
): boolean {
  const rows = orderByU32(records.startino.filled(), records.length)
  const withFree: number[] = []
  for (let e = 0; e < expected.length; e++) if (expected.freecount.get(e) > 0) withFree.push(e)
  let wrong = false
  compare(
    withFree.length,
    rows.length,
    (e, f) => expected.agino.get(withFree[e] as number) - records.startino.get(rows[f] as number),
    (e, f) => sameRecord(agno, 'finobt', expected, withFree[e] as number, records, rows[f] as number, findings),
    (kind, e, f) => {
      wrong = true
      if (kind === 'missing') findings.add('finobt.missing', { agno, agino: expected.agino.get(withFree[e] as number) })
      else if (kind === 'extra') findings.add('finobt.extra', { agno, agino: records.startino.get(rows[f] as number) })
    },
  )
  return wrong
}

function sameRecord(
  agno: number,
  tree: 'inobt' | 'finobt',
  expected: ExpectedChunks,
  e: number,
  records: InodeRecords,
  f: number,
  findings: Findings,
): boolean {
  const agino = expected.agino.get(e)
  let same = true
  const report = (field: string, found: number | string, should: number | string): void => {
    same = false
    const facts = { agno, agino, field, found, expected: should }
    if (tree === 'finobt') findings.add('finobt.wrong', facts)
    else findings.add(field === 'free' ? 'inobt.free' : 'inobt.count', facts)
  }
  for (const field of ['holemask', 'count', 'freecount'] as const) {
    if (expected[field].get(e) !== records[field].get(f)) report(field, records[field].get(f), expected[field].get(e))
  }
  if (expected.freeHi.get(e) !== records.freeHi.get(f) || expected.freeLo.get(e) !== records.freeLo.get(f)) {
    report(
      'free',
      hexMask(records.freeHi.get(f), records.freeLo.get(f)),
      hexMask(expected.freeHi.get(e), expected.freeLo.get(e)),
    )
  }
  return same
}
