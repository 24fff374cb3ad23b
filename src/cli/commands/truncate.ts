import { add, most, subtract } from '../../util/bytes.ts'
import { changeOptions, type ImageArguments, parseBytes } from '../arguments.ts'
import type { Command } from '../command.ts'
import { everyFile } from '../everyfile.ts'

const command: Command<ImageArguments & { image: string; size: string; paths: string[] }> = {
  command: 'truncate <image> <size> <paths..>',
  describe: 'set the size of files',
  operand: /^-[0-9]/,
  examples: [
    ['$0 truncate disk.img 0 /var/log/messages', ''],
    ['$0 truncate disk.img +1g /srv/disk.raw', 'extend by a gigabyte, as a hole'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('size', {
        type: 'string',
        demandOption: true,
        describe: 'bytes (k, m, g …); +N extends by N, -N shrinks by N',
      })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' }),
  handler: (args, session) => {
    const sign = /^[-+]/.exec(args.size)?.[0]
    const bytes = parseBytes(args.size.replace(/^[-+]/, ''))
    return everyFile(session, 'truncate', args, { follow: true }, (image, file) => {
      const { size } = image.stat(file).xfs
      image.truncate(file, sign === '+' ? add(size, bytes) : sign === '-' ? most(0, subtract(size, bytes)) : bytes)
    })
  },
}
export default command
