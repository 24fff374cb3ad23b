import { XfsError } from '../../errors.ts'
import type { XfsFile } from '../../xfsimage/file.ts'
import type { XfsImage } from '../../xfsimage/xfsimage.ts'
import { changeOptions, type ImageArguments, imagePath } from '../arguments.ts'
import type { Command } from '../command.ts'
import { changeEachPath, parseTime } from '../paths.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly paths: string[]
  readonly date?: string
  readonly reference?: string
  readonly create?: boolean
  readonly c?: boolean
  readonly dereference?: boolean
  readonly atime?: boolean
  readonly mtime?: boolean
}

const command: Command<Arguments> = {
  command: 'touch <image> <paths..>',
  describe: 'set timestamps; create missing files',
  examples: [
    ['$0 touch disk.img /etc/stamp', ''],
    ["$0 touch -d '2026-03-01 12:30:15.123456789 +0000' disk.img /etc/motd", ''],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('paths', { type: 'string', array: true, demandOption: true, describe: 'files in the image' })
      .option('date', {
        alias: 'd',
        type: 'string',
        requiresArg: true,
        describe: 'time to set: @seconds.nanoseconds, or a date and time',
      })
      .option('reference', {
        alias: 'r',
        type: 'string',
        requiresArg: true,
        describe: 'use the timestamps of this file in the image',
      })
      .option('create', {
        type: 'boolean',
        default: true,
        describe: 'create missing files; --no-create: do not',
      })
      .option('c', { type: 'boolean', describe: 'as --no-create' })
      .option('dereference', {
        type: 'boolean',
        default: true,
        describe: 'follow symbolic links; --no-dereference: change the links themselves',
      })
      .option('atime', { alias: 'a', type: 'boolean', describe: 'only the access time' })
      .option('mtime', { alias: 'm', type: 'boolean', describe: 'only the modification time' })
      .conflicts('date', 'reference') as never,
  handler: (args, session) => {
    const date = args.date === undefined ? undefined : parseTime(args.date)
    return changeEachPath(session, 'touch', args, args.paths, (image, path) => {
      const like = args.reference === undefined ? undefined : image.stat(imagePath(args.reference)).xfs
      const file = existing(image, imagePath(path), args)
      if (!file) return
      const { xfs: old } = image.stat(file)
      const both = args.atime === args.mtime
      const time = (name: 'atime' | 'mtime') => (both || args[name] ? (like?.[name] ?? date ?? image.now()) : old[name])
      image.utimes(file, time('atime'), time('mtime'))
    })
  },
}
export default command

function existing(image: XfsImage, path: Uint8Array, args: Arguments): XfsFile | undefined {
  const follow = args.dereference !== false
  try {
    return image.file(path, { follow })
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
  }
  if (args.c || args.create === false) return undefined
  image.appendFile(path, '')
  return image.file(path, { follow })
}
