import { withPaths } from '../../namespace/paths.ts'
import { resolve } from '../../namespace/resolve.ts'
import { refcountHistogram, sharers } from '../../reflink/sharing.ts'
import { escapeBytes } from '../../util/escape.ts'
import type { Volume } from '../../volume.ts'
import { type ImageArguments, imageOptions, imagePath } from '../arguments.ts'
import { type Command, UsageError } from '../command.ts'
import { withVolume } from '../image.ts'
import type { Row } from '../output.ts'

interface Arguments extends ImageArguments {
  readonly image: string
  readonly path?: string
  readonly histogram?: boolean
}

const SHARERS = [
  { name: 'offset' },
  { name: 'length' },
  { name: 'inode' },
  { name: 'inode offset' },
  { name: 'path', left: true },
] as const
const HISTOGRAM = [{ name: 'agno' }, { name: 'owners' }, { name: 'blocks' }] as const

/** All other mappings of the blocks that the file shares. */
function* sharerRows(volume: Volume, path: string): Generator<Row> {
  const { blocksize } = volume.geometry
  const file = resolve(volume, imagePath(path))
  for (const { item, path } of withPaths(volume, sharers(file), ({ ino }) => ino)) {
    yield {
      offset: item.startoff * blocksize,
      length: item.blockcount * blocksize,
      inode: item.ino,
      'inode offset': item.offset * blocksize,
      path: path && escapeBytes(path),
    }
  }
}

/** Blocks by number of owners; CoW staging blocks last. */
function* histogramRows(volume: Volume): Generator<Row> {
  for (let agno = 0; agno < volume.geometry.agcount; agno++) {
    const { blocks, cow } = refcountHistogram(volume, agno)
    for (const [owners, count] of [...blocks].sort(([a], [b]) => a - b)) yield { agno, owners, blocks: count }
    if (cow > 0) yield { agno, owners: 'cow', blocks: cow }
  }
}

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
    return withVolume({ out }, args.image, 'read', args, (volume) => {
      if (path === undefined) out.records('shares.histogram', HISTOGRAM, histogramRows(volume))
      else out.records('shares', SHARERS, sharerRows(volume, path))
    })
  },
}
export default command
