import { XfsError } from '../../errors.ts'
import { link, symlink, unlink } from '../../namespace/namespace.ts'
import { resolve } from '../../namespace/resolve.ts'
import type { Volume } from '../../volume.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { changeEachPath } from '../paths.ts'
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
    return changeEachPath(session, 'ln', args, targets, (volume, target) => {
      const path = intoDirectory(volume, place, target, targets.length)
      if (args.force) removeOld(volume, path)
      if (args.symbolic) symlink(volume, imagePath(target), path)
      else link(volume, resolve(volume, imagePath(target), { follow: false }).ino, path)
    })
  },
}
export default command

function removeOld(volume: Volume, path: Uint8Array): void {
  try {
    unlink(volume, path)
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
  }
}
