import { changeOptions, type ImageArguments } from '../arguments.ts'
import type { Command } from '../command.ts'
import { everyFile } from '../everyfile.ts'
import { parseOwner } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly owner: string
  readonly paths: string[]
  readonly recursive?: boolean
  readonly dereference?: boolean
}

const command: Command<Arguments> = {
  command: 'chown <image> <owner> <paths..>',
  describe: 'change the owner',
  examples: [['$0 chown -R disk.img 1000:1000 /home/me', 'user and group are numeric IDs']],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('owner', { type: 'string', demandOption: true, describe: 'UID, UID:GID or :GID' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('recursive', { alias: 'R', type: 'boolean', describe: 'everything below directories, too' })
      .option('dereference', {
        type: 'boolean',
        default: true,
        describe: 'follow symbolic links; --no-dereference: change the links themselves',
      }) as never,
  handler: (args, session) => {
    const { uid = -1, gid = -1 } = parseOwner(args.owner)
    return everyFile(session, 'chown', args, { follow: args.dereference !== false }, (image, file) =>
      image.chown(file, uid, gid),
    )
  },
}
export default command
