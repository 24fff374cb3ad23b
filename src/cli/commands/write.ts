import { closeSync, openSync, readSync } from 'node:fs'
import { XfsError } from '../../errors.ts'
import { createFile } from '../../file/namespace.ts'
import { resolve } from '../../file/path.ts'
import { truncate } from '../../file/range.ts'
import { writeFile } from '../../file/write.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath, optionalSize } from '../arguments.ts'
import { CannotRun, type Command } from '../command.ts'
import { withVolume } from '../image.ts'

interface Arguments extends Omit<ImageArguments, 'offset'> {
  readonly image: string
  readonly path: string
  readonly file?: string
  readonly offset?: number
  readonly imageOffset?: number
  readonly append?: boolean
  readonly truncate?: boolean
}

const command: Command<Arguments> = {
  command: 'write <image> <path> [file]',
  describe: 'write standard input or a file into a file of the image',
  examples: [
    ['echo hello | $0 write disk.img /etc/motd --truncate', 'its whole content'],
    ['$0 write disk.img /srv/disk.raw boot.bin --offset 1m', 'a range; the rest stays'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', {
        type: 'string',
        demandOption: true,
        describe: 'a file in the image; made where it is not there',
      })
      .positional('file', { type: 'string', describe: 'where the bytes are from (default, and -: standard input)' })
      .option('offset', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'where to write, in bytes (default: 0)',
      })
      .option('image-offset', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'the filesystem begins at this byte',
      })
      .option('append', { alias: 'a', type: 'boolean', describe: 'at the end' })
      .option('truncate', { alias: 't', type: 'boolean', describe: 'the file ends behind what is written' })
      .conflicts('append', 'offset') as never,
  handler: ({ imageOffset, offset, ...args }, session) =>
    withVolume(
      session,
      args.image,
      'write',
      { ...args, ...(imageOffset === undefined ? {} : { offset: imageOffset }) },
      (volume) => {
        const ino = (() => {
          try {
            return resolve(volume, imagePath(args.path)).ino
          } catch (error) {
            if (!(error instanceof XfsError) || error.code !== 'NOENT') throw error
            return createFile(volume, imagePath(args.path), 0o644).ino
          }
        })()
        const start = args.append ? resolve(volume, imagePath(args.path)).size : (offset ?? 0)
        const bytes = writeFile(volume, ino, start, inputOf(args.file))
        if (args.truncate) truncate(volume, ino, start + bytes)
        session.out.document('write', { path: args.path, offset: start, bytes }, () => '')
      },
    ),
}
export default command

const PIECE = 2 ** 20

/** The bytes of a file of the host, a piece at a time. */
function* inputOf(file: string | undefined): Generator<Uint8Array> {
  const path = file === undefined || file === '-' ? undefined : hostPath(file)
  try {
    const fd = path === undefined ? 0 : openSync(path, 'r')
    try {
      for (;;) {
        const piece = Buffer.allocUnsafe(PIECE)
        const length = readSync(fd, piece, 0, PIECE, null)
        if (length === 0) return
        yield piece.subarray(0, length)
      }
    } finally {
      if (path !== undefined) closeSync(fd)
    }
  } catch (error) {
    if (error instanceof XfsError) throw error
    if ((error as NodeJS.ErrnoException).code === 'EOF') return
    throw new CannotRun(`cannot read ${file ?? 'standard input'}: ${(error as Error).message}`, { cause: error })
  }
}
