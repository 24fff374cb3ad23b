import { counted } from '../../util/counted.ts'
import { batchCommand } from '../batch.ts'

export default batchCommand({
  name: 'dedupe',
  describe: 'share blocks of two files with the same content (FIDEDUPERANGE)',
  examples: [
    ['$0 dedupe disk.img /a /b', 'compare the files; share their blocks if they are equal'],
    ['$0 dedupe disk.img /a /b --length 1m', 'the first MiB only'],
    ['$0 dedupe disk.img --batch pairs.jsonl --json', 'many pairs, one JSON object per line; one result per line'],
  ],
  lengthHelp: "bytes (default: to the source's end)",
  async run(image, src, dst, range) {
    const { same, bytes, mapped } = await image.dedupe(src, dst, range)
    const what = `${counted(bytes, 'byte')} in ${counted(mapped, 'extent')}`
    const differ = 'the contents differ: nothing was shared'
    return {
      ok: same,
      same,
      bytes,
      mapped,
      text: same ? `deduped ${what}` : differ,
      wouldText: same ? `would dedupe ${what}` : differ,
    }
  },
})
