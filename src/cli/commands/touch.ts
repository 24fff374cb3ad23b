import { setAttributes } from '../../attr/setattr.ts'
import { XfsError } from '../../errors.ts'
import type { Inode } from '../../inode/inode.ts'
import { createFile } from '../../namespace/namespace.ts'
import { resolve } from '../../namespace/resolve.ts'
import type { Volume } from '../../volume.ts'
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
    return changeEachPath(session, 'touch', args, args.paths, (volume, path) => {
      const like = args.reference === undefined ? undefined : resolve(volume, imagePath(args.reference))
      const inode = existing(volume, path, args)
      const now = date ?? volume.now()
      const both = args.atime === args.mtime
      if (inode) {
        setAttributes(volume, inode.ino, {
          ...(both || args.atime ? { atime: like?.atime ?? now } : {}),
          ...(both || args.mtime ? { mtime: like?.mtime ?? now } : {}),
        })
      }
    })
  },
}
export default command

function existing(volume: Volume, path: string, args: Arguments): Inode | undefined {
  try {
    return resolve(volume, imagePath(path), { follow: args.dereference !== false })
  } catch (error) {
    if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
    return args.c || args.create === false ? undefined : createFile(volume, imagePath(path), 0o644)
  }
}
