import { truncate } from '../../file/range.ts'
import { changeOptions, type ImageArguments, parseSize } from '../arguments.ts'
import type { Command } from '../command.ts'
import { everyFile } from '../everyfile.ts'

const command: Command<ImageArguments & { image: string; size: string; paths: string[] }> = {
  command: 'truncate <image> <size> <paths..>',
  describe: 'set the size of files',
  examples: [
    ['$0 truncate disk.img 0 /var/log/messages', ''],
    ['$0 truncate disk.img +1g /srv/disk.raw', 'a gigabyte more: a hole'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('size', {
        type: 'string',
        demandOption: true,
        describe: 'bytes (k, m, g …); with + or - in front: more or less',
      })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' }),
  handler: (args, session) => {
    const sign = /^[-+]/.exec(args.size)?.[0]
    const bytes = parseSize(args.size.replace(/^[-+]/, ''))
    return everyFile(session, 'truncate', args, { follow: true }, (volume, inode) =>
      truncate(
        volume,
        inode.ino,
        sign === '+' ? inode.size + bytes : sign === '-' ? Math.max(0, inode.size - bytes) : bytes,
      ),
    )
  },
}
export default command
