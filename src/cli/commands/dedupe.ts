import { resolve } from '../../file/path.ts'
import { dedupeAll } from '../../reflink/dedupe.ts'
import { imagePath } from '../arguments.ts'
import { batchCommand } from '../batch.ts'

export default batchCommand({
  name: 'dedupe',
  describe: 'share blocks of two files where both hold the same bytes: FIDEDUPERANGE',
  examples: [
    ['$0 dedupe disk.img /a /b --length 1m', 'compare the first MiB; share it if it is the same'],
    ['$0 dedupe disk.img --batch pairs.jsonl --json', 'many: one JSON object a line in, one result a line out'],
  ],
  lengthHelp: 'bytes; 0: nothing',
  *run(volume, { src, dst, ...range }) {
    const { same, bytes, mapped } = yield* dedupeAll(
      volume,
      resolve(volume, imagePath(src)).ino,
      resolve(volume, imagePath(dst)).ino,
      range,
    )
    const text = same ? `deduped ${bytes} bytes in ${mapped} extents` : 'the contents differ: nothing was shared'
    return { ok: same, same, bytes, mapped, text }
  },
})
