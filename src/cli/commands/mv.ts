import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { absolute, named } from '../json.ts'
import { changeEachPath } from '../paths.ts'
import { intoDirectory } from '../target.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly clobber?: boolean
  readonly n?: boolean
  readonly exchange?: boolean
  readonly exact?: boolean
}

const command: Command<Arguments> = {
  command: 'mv <image> <paths..>',
  describe: 'rename and move files and directories',
  examples: [
    ['$0 mv disk.img /etc/motd /etc/motd.old', ''],
    ['$0 mv disk.img /a /b /srv', 'both into the directory /srv'],
    ['$0 mv --exchange disk.img /a /b', 'swap the two files'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'files to move, then the destination',
      })
      .option('clobber', { type: 'boolean', default: true, describe: 'replace existing files; --no-clobber: refuse' })
      .option('n', { type: 'boolean', describe: 'as --no-clobber' })
      .option('exchange', { type: 'boolean', describe: 'swap the two files' })
      .option('exact', {
        alias: 'T',
        type: 'boolean',
        describe: 'the last path is the new name, even if it is a directory',
      }) as never,
  handler: (args, session) => {
    const sources = args.paths.slice(0, -1)
    const target = args.paths.at(-1)
    if (target === undefined || sources.length === 0) throw new UsageError('mv needs files to move and a destination')
    const existing = args.exchange ? 'exchange' : args.n || args.clobber === false ? 'refuse' : 'replace'
    const exact = args.exchange === true || args.exact === true
    return changeEachPath(session, 'mv', args, sources, (image, path) => {
      const to = exact ? imagePath(target) : intoDirectory(image, target, path, sources.length)
      image.rename(imagePath(path), to, { existing })
      return named('to', absolute(to))
    })
  },
}
export default command
