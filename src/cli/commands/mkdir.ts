import { parentPath } from '../../xfsimage/paths.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { changeEachPath, parseMode } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly parents?: boolean
  readonly mode?: string
}

const command: Command<Arguments> = {
  command: 'mkdir <image> <paths..>',
  describe: 'create directories',
  examples: [['$0 mkdir -p disk.img /srv/www/data', 'create missing parents too']],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'directories in the image' })
      .option('parents', {
        alias: 'p',
        type: 'boolean',
        describe: 'create missing parents; no error if the directory exists',
      })
      .option('mode', { alias: 'm', type: 'string', requiresArg: true, describe: 'permissions (default: 0755)' }),
  handler: (args, session) =>
    changeEachPath(session, 'mkdir', args, args.paths, (image, path) => make(image, imagePath(path), args)),
}
export default command

function make(image: XfsImage, path: Uint8Array, { parents = false, mode }: Arguments): void {
  if (parents) image.mkdir(parentPath(path), { recursive: true })
  const existed = parents && image.exists(path)
  image.mkdir(path, { recursive: parents })
  if (mode !== undefined && !existed) image.chmod(path, parseMode(mode, 0o755, true))
}
