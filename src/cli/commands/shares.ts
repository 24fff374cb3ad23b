import { escapeBytes } from '../../util/escape.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { named } from '../json.ts'
import { withImage } from '../open.ts'
import type { Row } from '../output.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly path?: string
  readonly histogram?: boolean
}

const SHARERS = [
  { name: 'offset' }, { name: 'length' }, { name: 'ino', title: 'inode' }, { name: 'inoOffset', title: 'inode offset' },
  { name: 'path', left: true },
] as const // biome-ignore format: a table
const HISTOGRAM = [{ name: 'agno' }, { name: 'owners' }, { name: 'blocks' }] as const

const command: Command<Arguments> = {
  command: 'shares <image> [path]',
  describe: 'show which files share blocks with a file, or count blocks by number of owners',
  examples: [
    ['$0 shares disk.img /var/lib/vm.raw', 'each shared range, and the files that share it'],
    ['$0 shares disk.img --histogram', 'for each AG: number of owners, number of blocks'],
  ],
  builder: (yargs) =>
    imageOptions(yargs)
      .positional('image', { type: 'string', demandOption: true, describe: 'image file or block device' })
      .positional('path', { type: 'string', describe: 'a file in the image' })
      .option('histogram', { type: 'boolean', describe: 'count the blocks of the filesystem' }),
  handler: (args, { out }) => {
    const { path, histogram } = args
    if ((path === undefined) === (histogram !== true)) throw new UsageError('shares needs a path, or --histogram')
    return withImage({ out }, args.image, 'read', args, (image) => {
      if (path === undefined) {
        const rows = Array.from(image.ownerCounts(), (count) => ({ ...count }))
        out.records('shares.histogram', HISTOGRAM, rows)
        return
      }
      const rows = function* (): Generator<Row> {
        for (const { path: bytes, ...share } of image.shares(imagePath(path), { paths: true }))
          yield { ...share, ...(bytes && (out.json ? named('path', bytes) : { path: escapeBytes(bytes) })) }
      }
      out.records('shares', SHARERS, rows())
    })
  },
}
export default command
