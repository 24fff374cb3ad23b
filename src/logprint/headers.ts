import { AGI_UNLINKED_BUCKETS, Agi, BUCKET_SIZE } from '../format/ag.ts'
import { hex, signed } from './text.ts'

/** Buckets that are shown of an AGI of which one or two chunks of 128 bytes were logged. */
const shownBuckets = (length: number): number => (length === 128 ? 17 : length === 256 ? 49 : AGI_UNLINKED_BUCKETS)

/** The AGI in the view of records. @param continued  it goes on in the next record */
export function aginodeText(view: DataView, at: number, length: number, continued: boolean): string {
  const head = 'AGI Buffer: XAGI  '
  if (length < Agi.fields.unlinked.offset) return `${head}out of space\n`
  const { versionnum, seqno, length: blocks, count, root, level, freecount, newino } = Agi.decode(view, at)
  const lines = [
    head,
    `ver: ${signed(versionnum)}  seq#: ${signed(seqno)}  len: ${signed(blocks)}  cnt: ${signed(count)}  root: ${signed(root)}`,
    `level: ${signed(level)}  free#: 0x${hex(freecount)}  newino: 0x${hex(newino)}`,
    '',
  ]
  const whole = length === 128 || length === 256 || !continued
  const rest = whole ? bucketText(view, at, length) : 'AGI unlinked data skipped (CONTINUE set, no space)\n'
  return lines.join('\n') + rest
}

/** The heads of the unlinked lists, four a line. */
export function bucketText(view: DataView, at: number, length: number): string {
  const buckets = shownBuckets(length)
  let text = ''
  for (let bucket = 0; bucket < buckets; bucket++) {
    if (bucket % 4 === 0) text += `bucket[${bucket} - ${bucket + 3}]: `
    const head = view.getUint32(at + Agi.fields.unlinked.offset + bucket * BUCKET_SIZE)
    text += `0x${hex(head)} `
    if (bucket % 4 === 3 || bucket === buckets - 1) text += '\n'
  }
  return text
}
