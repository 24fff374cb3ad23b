import { FILE_TYPES } from '../../format/dinode.ts'
import { DEVICE_LIMITS } from '../../xfsimage/attributes.ts'
import { changeOptions, type ImageArguments, imagePath, parseCount } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { changeEachPath, parseMode } from '../paths.ts'

const types: Readonly<Record<string, number>> = {
  p: FILE_TYPES.fifo,
  b: FILE_TYPES.blk,
  c: FILE_TYPES.chr,
  u: FILE_TYPES.chr,
  s: FILE_TYPES.sock,
}

interface Arguments extends ImageArguments {
  readonly image: string
  readonly path: string
  readonly type: string
  readonly major?: string
  readonly minor?: string
  readonly mode?: string
}

const command: Command<Arguments> = {
  command: 'mknod <image> <path> <type> [major] [minor]',
  describe: 'create a device node, fifo or socket',
  examples: [
    ['$0 mknod disk.img /dev/null c 1 3 -m 666', ''],
    ['$0 mknod disk.img /run/pipe p', ''],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', demandOption: true, describe: 'path in the image' })
      .positional('type', {
        type: 'string',
        demandOption: true,
        choices: Object.keys(types),
        describe: 'block or character device, fifo (p), socket',
      })
      .positional('major', { type: 'string', describe: 'major number (devices only)' })
      .positional('minor', { type: 'string', describe: 'minor number (devices only)' })
      .option('mode', { alias: 'm', type: 'string', requiresArg: true, describe: 'permissions (default: 0644)' }),
  handler: (args, session) => {
    const type = types[args.type] as number
    const isDevice = type === FILE_TYPES.blk || type === FILE_TYPES.chr
    if (isDevice !== (args.major !== undefined && args.minor !== undefined))
      throw new UsageError('a device node needs a major and a minor number, other types take none')
    const device = isDevice
      ? {
          major: number('major', args.major, DEVICE_LIMITS.major),
          minor: number('minor', args.minor, DEVICE_LIMITS.minor),
        }
      : undefined
    return changeEachPath(session, 'mknod', args, [args.path], (image, text) => {
      const path = imagePath(text)
      image.mknod(path, type | 0o644, device)
      if (args.mode !== undefined) image.chmod(path, parseMode(args.mode, 0o644, false))
    })
  },
}
export default command

function number(what: string, text: string | undefined, below: number): number {
  const value = parseCount(text ?? '', what)
  if (value >= below) throw new UsageError(`${what} ${value}: below ${below}`)
  return value
}
