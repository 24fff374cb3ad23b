import { counted } from '../../util/counted.ts'
import { batchCommand } from '../batch.ts'

export default batchCommand({
  name: 'reflink',
  describe: 'share blocks of one file with another (FICLONE, FICLONERANGE)',
  examples: [
    ['$0 reflink disk.img /a /b', '/b becomes a copy of /a that shares all its blocks'],
    ['$0 reflink disk.img /a /b --src-offset 1m --dst-offset 0 --length 64k', 'one range'],
    ['$0 reflink disk.img --batch pairs.tsv', 'many pairs, one per line: src, dst and optionally three numbers'],
  ],
  lengthHelp: "bytes (default, and 0: to the source's end)",
  async run(image, src, dst, range) {
    const { length, mapped } = await image.reflink(src, dst, range)
    const what = `${counted(length, 'byte')} in ${counted(mapped, 'extent')}`
    return { ok: true, bytes: length, mapped, text: `shared ${what}`, wouldText: `would share ${what}` }
  },
})
