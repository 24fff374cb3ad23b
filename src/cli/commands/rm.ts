import { XfsError } from '../../errors.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { absolute, named } from '../json.ts'
import { changeEachPath, type PathResult } from '../paths.ts'
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
  plan: () => ({}),
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
      const removed: PathResult[] = []
      const onRemove = (below?: Uint8Array): void => {
        if (session.out.json) removed.push(named('path', absolute(bytes, below)))
      }
      try {
        if (args.recursive) await withProgress((options) => image.removeTree(bytes, { ...options, onRemove }))
        else {
          image.unlink(bytes)
          onRemove()
        }
      } catch (error) {
        if (!(error instanceof XfsError)) throw error
        if (error.code === 'ISDIR' && args.dir) {
          image.rmdir(bytes)
          onRemove()
        } else if (error.code !== 'NOENT' || !args.force) throw error
      }
      return { removed }
    }),
}
export default command
