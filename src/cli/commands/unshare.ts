import { resolve } from '../../namespace/resolve.ts'
import { unshare } from '../../reflink/unshare.ts'
import { type Bytes, most, subtract } from '../../util/bytes.ts'
import { counted } from '../../util/counted.ts'
import { changeOptions, type ImageArguments, imagePath, optionalBytes, optionalSize, parseBytes } from '../arguments.ts'
import type { Command } from '../command.ts'
import { withVolume } from '../image.ts'
import { drive } from '../progress.ts'

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
  handler: async ({ imageOffset, offset, ...args }, session) => {
    const result = await withVolume(
      session,
      args.image,
      'write',
      { ...args, ...(imageOffset === undefined ? {} : { offset: imageOffset }) },
      async (volume) => {
        const inode = resolve(volume, imagePath(args.path))
        const length = args.length ?? most(0, subtract(inode.size, offset))
        if (length === 0 && args.length === undefined && inode.isRegular) return undefined
        return drive(unshare(volume, inode.ino, { offset, length, keepSize: args.keepSize === true }))
      },
    )
    const dryRun = args.dryRun === true
    const { copied, cleared } = result ?? { copied: 0, cleared: false }
    session.out.document('unshare', { copied, cleared, ...(dryRun && { dryRun }) }, () => {
      if (!result) return 'nothing to unshare'
      if (dryRun) return `would copy ${counted(copied, 'block')}`
      return `${counted(copied, 'block')} copied${cleared ? '; the file has no shared blocks left' : ''}`
    })
  },
}
export default command
