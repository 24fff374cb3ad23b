import { createReadStream, fstatSync, openSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { add, type Bytes } from '../../util/bytes.ts'
import { changeOptions, hostPath, type ImageArguments, imagePath, optionalBytes, optionalSize } from '../arguments.ts'
import { CannotRun, type Command, Interrupted } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import { stopSignal, wakeable } from '../signals.ts'

interface Arguments extends Omit<ImageArguments, 'offset'> {
  readonly image: string
  readonly path: string
  readonly file?: string
  readonly offset?: Bytes
  readonly imageOffset?: number
  readonly append?: boolean
  readonly truncate?: boolean
}

const command: Command<Arguments> = {
  command: 'write <image> <path> [file]',
  describe: 'write standard input or a file into a file of the image',
  examples: [
    ['echo hello | $0 write disk.img /etc/motd --truncate', 'replace the content'],
    ['$0 write disk.img /srv/disk.raw boot.bin --offset 1m', 'overwrite a range'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', {
        type: 'string',
        demandOption: true,
        describe: 'a file in the image, created if missing',
      })
      .positional('file', { type: 'string', describe: 'source file (default and -: standard input)' })
      .option('offset', {
        type: 'string',
        coerce: optionalBytes,
        requiresArg: true,
        describe: 'file offset in bytes (default: 0)',
      })
      .option('image-offset', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'byte offset of the filesystem in the image',
      })
      .option('append', { alias: 'a', type: 'boolean', describe: 'write at EOF' })
      .option('truncate', { alias: 't', type: 'boolean', describe: 'truncate the file after the last byte written' })
      .conflicts('append', 'offset') as never,
  handler: async ({ imageOffset, offset, ...args }, session) => {
    // An unreadable source is refused before a file is created for it.
    const input = inputStream(args.file)
    const path = imagePath(args.path)
    const part = imageOffset === undefined ? {} : { offset: imageOffset }
    const { start, bytes } = await withImage(session, args.image, 'write', { ...args, ...part }, async (image) => {
      const existing = image.exists(path) ? image.stat(path).xfs : undefined
      const start = args.append ? (existing?.size ?? 0) : (offset ?? 0)
      const flag = args.append ? 'a' : existing ? 'r+' : 'w'
      const options = { flag, offset: start, length: knownLength(args.file) } as const
      const bytes = await image.writeFrom(path, inputOf(input, args.file), options)
      if (args.truncate) image.truncate(path, add(start, bytes))
      return { start, bytes }
    })
    const dryRun = args.dryRun === true && { dryRun: true }
    session.out.document('write', { ...named('path', absolute(path)), offset: start, bytes, ...dryRun }, () => '')
  },
}
export default command

const PIECE = 2 ** 20

/** Size of the source in bytes; 0 if it is not a regular file. */
function knownLength(file: string | undefined): number {
  const input = file === undefined || file === '-' ? fstatSync(0) : statSync(hostPath(file), { throwIfNoEntry: false })
  return input?.isFile() ? input.size : 0
}

/** @throws CannotRun */
function inputStream(file: string | undefined): Readable {
  if (file === undefined || file === '-') return process.stdin
  try {
    return createReadStream('', { fd: openSync(hostPath(file), 'r'), highWaterMark: PIECE })
  } catch (error) {
    throw new CannotRun(`cannot read ${file}: ${(error as Error).message}`, { cause: error })
  }
}

/**
 * The bytes of a file of the host, in pieces.
 * @throws CannotRun, Interrupted (also while it waits for input)
 */
async function* inputOf(stream: Readable, file: string | undefined): AsyncGenerator<Uint8Array> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  try {
    for (;;) {
      const next = await wakeable(
        () => stream.destroy(),
        () => chunks.next(),
      )
      const signal = stopSignal()
      if (signal !== undefined) throw new Interrupted(signal)
      if (next.done) return
      yield next.value
    }
  } catch (error) {
    const signal = stopSignal()
    if (signal !== undefined) throw new Interrupted(signal)
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
    throw new CannotRun(`cannot read ${file ?? 'standard input'}: ${(error as Error).message}`, { cause: error })
  } finally {
    stream.destroy()
  }
}
