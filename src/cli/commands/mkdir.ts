import { setAttributes } from '../../attr/setattr.ts'
import { XfsError } from '../../errors.ts'
import { mkdir } from '../../namespace/namespace.ts'
import { resolve, splitPath } from '../../namespace/resolve.ts'
import type { Volume } from '../../volume.ts'
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
    changeEachPath(session, 'mkdir', args, args.paths, (volume, path) => make(volume, path, args)),
}
export default command

function make(volume: Volume, path: string, { parents, mode }: Arguments): void {
  const bytes = imagePath(path)
  const made = parents ? makeParents(volume, bytes) : mkdir(volume, bytes, 0o755)
  if (mode !== undefined && made) setAttributes(volume, made.ino, { permissions: parseMode(mode, 0o755, true) })
}

/** The last directory, if it was created. */
function makeParents(volume: Volume, path: Uint8Array) {
  const parts = splitPath(path).map((part) => Buffer.from(part))
  let made: ReturnType<typeof mkdir> | undefined
  for (let i = 1; i <= parts.length; i++) {
    const head = Buffer.concat(parts.slice(0, i).flatMap((part) => [Buffer.from('/'), part]))
    try {
      made = mkdir(volume, head, 0o755)
    } catch (error) {
      if (!(error instanceof XfsError) || error.code !== 'EXIST') throw error
      if (!resolve(volume, head).isDirectory) throw new XfsError('NOTDIR', 'a component of the path is not a directory')
      made = undefined
    }
  }
  return made
}
