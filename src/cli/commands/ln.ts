import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { absolute, named } from '../json.ts'
import { changeEachPath, pathEntry } from '../paths.ts'
import { intoDirectory } from '../target.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly symbolic?: boolean
  readonly force?: boolean
}

const command: Command<Arguments> = {
  command: 'ln <image> <paths..>',
  describe: 'create a hard link or a symbolic link',
  examples: [
    ['$0 ln disk.img /bin/sh /bin/bash', 'a hard link'],
    ['$0 ln -s disk.img ../run /var/run', 'a symbolic link; the target is stored as given'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', {
        type: 'string',
        array: true,
        demandOption: true,
        describe: 'the file (or link target), then the new name',
      })
      .option('symbolic', { alias: 's', type: 'boolean', describe: 'create a symbolic link' })
      .option('force', { alias: 'f', type: 'boolean', describe: 'replace an existing file' }),
  handler: (args, session) => {
    const targets = args.paths.slice(0, -1)
    const place = args.paths.at(-1)
    if (place === undefined || targets.length === 0) throw new UsageError('ln needs a file and the new name')
    const existing = args.force ? 'replace' : 'refuse'
    const targetBytes = (text: string) => (args.symbolic ? imagePath(text) : absolute(imagePath(text)))
    return changeEachPath(
      session,
      'ln',
      args,
      targets,
      (image, target) => {
        const path = intoDirectory(image, place, target, targets.length)
        image[args.symbolic ? 'symlink' : 'link'](imagePath(target), path, { existing })
        return named('path', absolute(path))
      },
      (target) => ({ ...pathEntry(place), ...named('target', targetBytes(target)) }),
    )
  },
}
export default command
