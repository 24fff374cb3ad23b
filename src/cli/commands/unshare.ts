import type { Bytes } from '../../util/bytes.ts'
import { counted } from '../../util/counted.ts'
import { changeOptions, type ImageArguments, imagePath, optionalBytes, optionalSize, parseBytes } from '../arguments.ts'
import type { Command } from '../command.ts'
import { absolute, named } from '../json.ts'
import { withImage } from '../open.ts'
import { withProgress } from '../progress.ts'

interface Arguments extends Omit<ImageArguments, 'offset'> {
  readonly image: string
  readonly path: string
  /** Start of the range; `imageOffset` is the start of the filesystem in the image. */
  readonly offset: Bytes
  readonly imageOffset?: number
  readonly length?: Bytes
  readonly keepSize?: boolean
}

const command: Command<Arguments> = {
  command: 'unshare <image> <path>',
  describe: 'copy the shared blocks of a file (FALLOC_FL_UNSHARE_RANGE)',
  examples: [
    ['$0 unshare disk.img /var/lib/db', 'the complete file'],
    ['$0 unshare disk.img /var/lib/db --offset 1m --length 64k', 'a range'],
  ],
  builder: (yargs) =>
    changeOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', demandOption: true, describe: 'a file in the image' })
      .option('offset', {
        type: 'string',
        default: '0',
        coerce: parseBytes,
        requiresArg: true,
        describe: 'start of the range in bytes',
      })
      .option('image-offset', {
        type: 'string',
        coerce: optionalSize,
        requiresArg: true,
        describe: 'byte offset of the filesystem in the image',
      })
      .option('length', {
        type: 'string',
        coerce: optionalBytes,
        requiresArg: true,
        describe: 'bytes (default: to EOF)',
      })
      .option('keep-size', { type: 'boolean', describe: 'do not extend the file' }) as never,
  handler: async ({ imageOffset, offset, length, ...args }, session) => {
    const path = imagePath(args.path)
    const part = imageOffset === undefined ? {} : { offset: imageOffset }
    const { empty, copied, cleared } = await withImage(
      session,
      args.image,
      'write',
      { ...args, ...part },
      async (image) => {
        const range = { offset, ...(length !== undefined && { length }), keepSize: args.keepSize === true }
        const empty = length === undefined && offset >= image.stat(path).xfs.size
        return { empty, ...(await withProgress((options) => image.unshare(path, { ...range, ...options }))) }
      },
    )
    const dryRun = args.dryRun === true
    const result = { ...named('path', absolute(path)), copied, cleared, ...(dryRun && { dryRun }) }
    session.out.document('unshare', result, () => {
      if (empty) return 'nothing to unshare'
      if (dryRun) return `would copy ${counted(copied, 'block')}`
      return `${counted(copied, 'block')} copied${cleared ? '; the file has no shared blocks left' : ''}`
    })
  },
}
export default command
