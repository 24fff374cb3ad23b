import { changeOptions, type ImageArguments } from '../arguments.ts'
import type { Command } from '../command.ts'
import { everyFile } from '../everyfile.ts'
import { parseMode } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly mode: string
  readonly paths: string[]
  readonly recursive?: boolean
}

const command: Command<Arguments> = {
  command: 'chmod <image> <mode> <paths..>',
  describe: 'change permissions',
  operand: /^-[rwxXst]+([-+=,].*)?$/,
  examples: [
    ['$0 chmod disk.img 0644 /etc/motd', ''],
    ['$0 chmod -R disk.img u+rwX,go-w /srv', 'a directory and everything below it'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('mode', { type: 'string', demandOption: true, describe: 'octal, or like u+x,go-w' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'everything below directories, too' }),
  handler: (args, session) => {
    parseMode(args.mode, 0, false)
    return everyFile(session, 'chmod', args, { follow: true }, (image, file) => {
      const stat = image.stat(file)
      if (stat.isSymbolicLink()) return
      image.chmod(file, parseMode(args.mode, stat.xfs.permissions, stat.isDirectory()))
    })
  },
}
export default command
