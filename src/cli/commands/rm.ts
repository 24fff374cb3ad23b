import { XfsError } from '../../errors.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { changeEachPath } from '../paths.ts'
import { withProgress } from '../progress.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly recursive?: boolean
  readonly force?: boolean
  readonly dir?: boolean
}

const command: Command<Arguments> = {
  command: 'rm <image> <paths..>',
  describe: 'remove files and trees',
  examples: [
    ['$0 rm disk.img /etc/motd', ''],
    ['$0 rm -rf disk.img /var/cache /tmp/x', 'trees; no error for missing files'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'files and directories in the image',
      })
      .option('recursive', { alias: 'r', type: 'boolean', describe: 'remove directories and their contents' })
      .option('force', { alias: 'f', type: 'boolean', describe: 'no error for missing files' })
      .option('dir', { alias: 'd', type: 'boolean', describe: 'remove empty directories too' }),
  handler: (args, session) =>
    changeEachPath(session, 'rm', args, args.paths, async (image, path) => {
      const bytes = imagePath(path)
      try {
        if (args.recursive) await withProgress((options) => image.removeTree(bytes, options))
        else image.unlink(bytes)
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        if (error.code === 'ISDIR' && args.dir) image.rmdir(bytes)
        else if (error.code !== 'NOENT' || !args.force) throw error
      }
    }),
}
export default command
